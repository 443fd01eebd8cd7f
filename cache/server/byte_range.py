"""Read the Range header of a request. Only a single range of bytes is supported, as containerd sends it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The part [start, stop) of a body."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Return the number of bytes."""
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the value of the Content-Range header."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


class UnsatisfiableError(Exception):
    """The range lies outside the body."""


def requested_range(header: str | None, size: int) -> ByteRange | None:
    """Return the requested part of a body of `size` bytes; None means the whole body.

    A header that is malformed or has several ranges is ignored, as RFC 9110 allows. Raises UnsatisfiableError.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        length = min(int(match["last"]), size)
        if length == 0:
            raise UnsatisfiableError
        return ByteRange(size - length, size)
    start = int(match["first"])
    stop = min(int(match["last"]) + 1, size) if match["last"] else size
    if match["last"] and int(match["last"]) < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return ByteRange(start, stop)
