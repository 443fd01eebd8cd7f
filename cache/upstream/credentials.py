"""Read user name and password from a mounted Secret."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cache.file_stamp import Stamp, stamp_of

if TYPE_CHECKING:
    from cache.config import CredentialFiles


@dataclass(frozen=True, slots=True)
class Credentials:
    """The value of an Authorization header, empty without credentials. A rewritten file makes them differ."""

    basic: str = field(default="", repr=False)
    stamps: tuple[Stamp, ...] = ()


def read_credentials(files: CredentialFiles | None) -> Credentials:
    """Read the account in two files; None means anonymous. The bytes of the files are sent as they are."""
    if files is None:
        return Credentials()
    paths = Path(files.username), Path(files.password)
    stamps = tuple(map(stamp_of, paths))
    while True:
        credentials = Credentials(_basic_in(paths), stamps)
        stamps = tuple(map(stamp_of, paths))
        if stamps == credentials.stamps:  # else the Secret changed while it was read
            return credentials


def _basic_in(paths: tuple[Path, Path]) -> str:
    try:
        username, password = (path.read_bytes() for path in paths)
    except OSError:
        return ""
    return f"Basic {b64encode(username + b':' + password).decode()}" if username and password else ""
