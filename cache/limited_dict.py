"""Remember a limited number of things."""

from __future__ import annotations

from typing import TypeVar

from typing_extensions import override

K = TypeVar("K")
V = TypeVar("V")


class LimitedDict(dict[K, V]):
    """A dictionary that forgets everything when it is full. Keys are added by assignment only."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    @override
    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self._limit and key not in self:
            self.clear()
        super().__setitem__(key, value)
