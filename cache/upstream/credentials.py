"""Read user name and password from a mounted Secret."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cache.file_stamp import Stamp, stamp_of

_FILES = ("username", "password")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The value of an Authorization header, empty without credentials. A rewritten file makes them differ."""

    basic: str = field(default="", repr=False)
    stamps: tuple[Stamp, ...] = ()


def read_credentials(directory: str | None) -> Credentials:
    """Read the files `username` and `password` of a directory; None means anonymous.

    The bytes of the files are sent as they are.
    """
    if directory is None:
        return Credentials()
    stamps = _stamps_in(directory)
    while True:
        credentials = Credentials(_basic_in(directory), stamps)
        stamps = _stamps_in(directory)
        if stamps == credentials.stamps:  # else the Secret changed while it was read
            return credentials


def _stamps_in(directory: str) -> tuple[Stamp, ...]:
    return tuple(stamp_of(Path(directory, name)) for name in _FILES)


def _basic_in(directory: str) -> str:
    try:
        username, password = (Path(directory, name).read_bytes() for name in _FILES)
    except OSError:
        return ""
    return f"Basic {b64encode(username + b':' + password).decode()}" if username and password else ""
