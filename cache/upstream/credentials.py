"""Read user name and password from a mounted Secret at each change."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cache.file_stamp import Stamp, stamp_of


@dataclass(slots=True)
class Credentials:
    """The files `username` and `password` of a directory; None means anonymous."""

    directory: str | None
    version: int = 0
    _stamp: tuple[Stamp, ...] = ()
    _basic: str = field(default="", repr=False)

    def basic(self) -> str:
        """Return the value of an Authorization header; empty without credentials.

        `version` grows if the files changed. The bytes of the files are sent as they are.
        """
        if self.directory is None:
            return ""
        stamp = self._stamps()
        while stamp != self._stamp:  # again if the Secret changed while it was read
            self._stamp, self._basic = stamp, self._read()
            self.version += 1
            stamp = self._stamps()
        return self._basic

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(stamp_of(Path(str(self.directory), name)) for name in ("username", "password"))

    def _read(self) -> str:
        try:
            username, password = (Path(str(self.directory), name).read_bytes() for name in ("username", "password"))
        except OSError:
            return ""
        return f"Basic {b64encode(username + b':' + password).decode()}" if username and password else ""
