"""Run a block with the powers of an agent's pod: the same user, without capabilities."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VERSION: Final = 0x20080522  # capget(2): 64-bit capability sets
ANOTHER_USER: Final = 65534


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def without_capabilities() -> Iterator[None]:
    """Drop the capabilities of this thread: root can then not read the private files of other users."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION, 0), (_Set * 2)()
    _check(libc.capget(ctypes.byref(header), sets))
    before = [each.effective for each in sets]
    for each in sets:
        each.effective = 0
    _check(libc.capset(ctypes.byref(header), sets))
    try:
        yield
    finally:
        for each, effective in zip(sets, before, strict=True):
            each.effective = effective
        _check(libc.capset(ctypes.byref(header), sets))


def give_away(path: Path, mode: int) -> None:
    """Make a file or folder private to another user; without root, remove all its permissions."""
    path.chmod(mode if os.geteuid() == 0 else 0)
    if os.geteuid() == 0:
        os.chown(path, ANOTHER_USER, ANOTHER_USER)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "capabilities cannot be changed")
