"""Make the volume of a cache slow. A process that finds this file as `sitecustomize` runs it at its start."""

import os
import tempfile
import time
from collections.abc import Callable

SECONDS = 0.5


def slow_write(pwrite: Callable[..., int]) -> Callable[..., int]:
    """Return a function that writes slowly, and complains if its descriptor is closed or reused meanwhile."""

    def write(fd: int, content: bytes, offset: int) -> int:
        before = os.fstat(fd)
        time.sleep(SECONDS)
        try:
            same = os.path.samestat(before, os.fstat(fd))
        except OSError:
            same = False
        if not same:
            os.write(2, b"the descriptor of a write was closed\n")
        return pwrite(fd, content, offset)

    return write


def slow_creation(mkstemp: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """Return a function that creates a file slowly."""

    def create(**arguments: object) -> tuple[int, str]:
        made = mkstemp(**arguments)
        time.sleep(SECONDS)
        return made

    return create


if __name__ == "sitecustomize":
    vars(os)["pwrite"] = slow_write(os.pwrite)
    vars(tempfile)["mkstemp"] = slow_creation(tempfile.mkstemp)
