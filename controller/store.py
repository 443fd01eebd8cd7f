"""What the cluster was last seen to hold, one kind a store. Objects are kept as bytes of JSON.

Dictionaries would cost five times the memory (500 mirrors have 3,000 objects), and a reconcile decodes the six
it needs in well under a millisecond. Only what the controller looks at is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]
Trim = Callable[[Json], Json | None]
Listener = Callable[[str, Json | None, Json | None], None]


def without_managed_fields(live: Json) -> Json:
    """The object without what half of it usually is and nobody here reads."""
    live["metadata"].pop("managedFields", None)
    return live


@dataclass(slots=True)
class Store:
    """Objects of one kind by name. `trim` says what is kept of each, or None for one that is of no interest.

    Listeners hear of each change, with name, object before and object after; each is told once, whether the change
    came by a watch or was our own write and was put here before the watch brought it.

    Versions grow over all objects of a kind, and a watch brings them in order. So an object that is not here has no
    version up to `_settled`, the last deletion or list: the answer to a write of ours that comes later than the
    watch has told of the deletion must not bring the object back, as nothing would ever take it away again.
    """

    trim: Trim = without_managed_fields
    _objects: dict[str, bytes] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _listeners: list[Listener] = field(default_factory=list)
    _settled: int = -1

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

    def put(self, live: Json, *, quietly: bool = False) -> None:
        """Takes in an object, unless a newer one is here. `quietly` for our own writes, which are no news to us."""
        name, version = live["metadata"]["name"], int(live["metadata"]["resourceVersion"])
        if version <= self._versions.get(name, self._settled):
            return
        kept = self.trim(live)
        if kept is None:
            return
        before = None if quietly else self.get(name)
        self._objects[name], self._versions[name] = orjson.dumps(kept), version
        if not quietly:
            self._tell(name, before, kept)

    def remove(self, name: str, version: int) -> None:
        """Drops an object that was deleted at `version`, unless a newer one of that name is here."""
        self._settled = max(self._settled, version)
        if name not in self._objects or version < self._versions[name]:
            return
        before = self.get(name)
        del self._objects[name], self._versions[name]
        self._tell(name, before, None)

    def replace(self, items: Iterable[Json], version: int) -> None:
        """Takes in a whole list as read at `version`; what is missing from it and not newer is gone."""
        seen, self._settled = set(), -1
        for live in items:
            seen.add(live["metadata"]["name"])
            self.put(live)
        for name in self:
            if name not in seen:
                self.remove(name, version)
        self._settled = version

    def _tell(self, name: str, before: Json | None, after: Json | None) -> None:
        for listener in self._listeners:
            listener(name, before, after)
