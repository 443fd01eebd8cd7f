"""What the cluster was last seen to hold, one kind a store. Objects are kept as bytes of JSON.

Dictionaries would cost five times the memory (500 mirrors have 3,000 objects), and a reconcile decodes the six
it needs in well under a millisecond. Only what the controller looks at is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import orjson

from common.types import Json

Trim = Callable[[Json], Json | None]
Listener = Callable[[str, Json | None, Json | None], None]

_NOTHING: Final = (0, None)  # no object has version 0


def without_managed_fields(current: Json) -> Json:
    """The object without what half of it usually is and nobody here reads."""
    current["metadata"].pop("managedFields", None)
    return current


def _packed(current: Json) -> bytes:
    """JSON in memory of its own size: orjson cuts it from a buffer up to twice as large, whose rest is lost to us."""
    return memoryview(orjson.dumps(current)).tobytes()


@dataclass(slots=True)
class Store:
    """Objects of one kind by name. `trim` says what is kept of each, or None for one that is of no interest.

    Listeners hear of each change by somebody else, with name, object before and object after. Our own writes are no
    news, also where the watch brings one before the answer to it is here: see `writing`.

    Versions grow over all objects of a kind, and a watch brings them in order. So an object that is not here has no
    version up to `_settled`, the last deletion or list: the answer to a write of ours that comes later than the
    watch has told of the deletion must not bring the object back, as nothing would ever take it away again.
    """

    trim: Trim = without_managed_fields
    _objects: dict[str, bytes] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _listeners: list[Listener] = field(default_factory=list)
    _settled: int = -1
    # By name of what is being written: version and former object of what the watch has brought meanwhile.
    _untold: dict[str, tuple[int, Json | None]] = field(default_factory=dict)

    def listen(self, listener: Listener) -> None:
        """Tells `listener` of every change from now on."""
        self._listeners.append(listener)

    def get(self, name: str) -> Json | None:
        """The object as it was last seen; a copy, to do with as one likes."""
        kept = self._objects.get(name)
        return None if kept is None else orjson.loads(kept)

    def __contains__(self, name: str) -> bool:
        return name in self._objects

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._objects))

    @property
    def newest(self) -> int:
        """The highest version seen so far. A list asked for from now on is read at this one at least."""
        return max((*self._versions.values(), self._settled))

    def distrust(self) -> None:
        """The cluster's history began anew (etcd restored from a backup): versions from before mean nothing now."""
        self._versions = dict.fromkeys(self._versions, -1)

    def put(self, current: Json, *, quietly: bool = False) -> None:
        """Takes in an object, unless a newer one is here. `quietly` for our own writes, which are no news to us."""
        name, version = current["metadata"]["name"], int(current["metadata"]["resourceVersion"])
        if quietly and self._untold.get(name, _NOTHING)[0] == version:
            self._untold[name] = _NOTHING
        if version <= self._versions.get(name, self._settled):
            return
        kept = self.trim(current)
        if kept is None:
            return
        before = None if quietly else self.get(name)
        self._objects[name], self._versions[name] = _packed(kept), version
        if not quietly:
            self._news(name, version, before, kept)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """While we write an object: what a watch brings of it is told at the end, unless it is that very write.

        A watch is mostly faster than the answer, so that every mirror would be looked at once more for nothing.
        """
        self._untold[name] = _NOTHING
        try:
            yield
        finally:
            version, before = self._untold.pop(name)
            if version:
                self._tell(name, before, self.get(name))

    def remove(self, name: str, version: int) -> None:
        """Drops an object that was deleted at `version`, unless a newer one of that name is here."""
        self._settled = max(self._settled, version)
        if name not in self._objects or version < self._versions[name]:
            return
        before = self.get(name)
        del self._objects[name], self._versions[name]
        self._news(name, version, before, None)

    def take(self, items: Iterable[Json]) -> set[str]:
        """Takes in a part of a list; what it tells is newer than what was settled. Returns the names in it."""
        self._settled = -1
        names = set()
        for current in items:
            names.add(current["metadata"]["name"])
            self.put(current)
        return names

    def settle(self, names: set[str], version: int) -> None:
        """Says that a whole list, as read at `version`, held just these names: what is missing is gone."""
        for name in self:
            if name not in names:
                self.remove(name, version)
        self._settled = version

    def replace(self, items: Iterable[Json], version: int) -> None:
        """Takes in a whole list as read at `version`."""
        self.settle(self.take(items), version)

    def _news(self, name: str, version: int, before: Json | None, after: Json | None) -> None:
        if name in self._untold:
            earlier = self._untold[name]
            self._untold[name] = (version, earlier[1] if earlier[0] else before)
        else:
            self._tell(name, before, after)

    def _tell(self, name: str, before: Json | None, after: Json | None) -> None:
        for listener in self._listeners:
            listener(name, before, after)
