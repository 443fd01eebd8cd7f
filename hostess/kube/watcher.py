"""Follows one collection of the API server for ever: list, watch from there, and again when that ends."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hostess.kube.api_client import Api, Gone

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from common.types import Json
    from hostess.json_log import Log


# Seconds before a lost API server is asked again: doubling, and never all agents of a cluster at the same moment.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
# Seconds that one watch may last, each agent's another, so that they do not all come back together.
SHORTEST_WATCH: Final = 240
LONGEST_WATCH: Final = 480


@dataclass(slots=True)
class Follower:
    """Tells `publish` all objects of a collection whenever one of them changes, until `stopping`."""

    api: Api
    path: str
    selector: Mapping[str, str]
    publish: Callable[[list[Json]], None]
    log: Log
    stopping: threading.Event
    _pause: float = FIRST_PAUSE

    def forever(self) -> None:
        """Goes on through everything that the API server may answer."""
        while not self.stopping.is_set():
            try:
                self._list_then_watch()
            except Gone:
                self.stopping.wait(random.random())  # noqa: S311 (not all agents list at the same moment)
            except Exception as error:  # noqa: BLE001 (the boundary: whatever an answer held, the thread goes on)
                why = f"{type(error).__name__}: {error}"
                self.log.warning("api server not reached", why=why, again_in=round(self._pause))
                self.stopping.wait(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 (spreads agents, hides nothing)
                self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _list_then_watch(self) -> None:
        """One list, then watches from where the last one ended, until one of them fails."""
        found = self.api.get(self.path, self.selector)
        objects = {one["metadata"]["name"]: one for one in found["items"]}
        self.publish(list(objects.values()))
        self._pause = FIRST_PAUSE
        version = found["metadata"]["resourceVersion"]
        while not self.stopping.is_set():
            began = time.monotonic()
            version = self._watch(objects, version)
            if time.monotonic() - began < FIRST_PAUSE:  # something between us ends watches at once
                self.stopping.wait(FIRST_PAUSE)

    def _watch(self, objects: dict[str, Json], version: str) -> str:
        """One watch, until it ends; returns the version to go on from."""
        seconds = random.randint(SHORTEST_WATCH, LONGEST_WATCH)  # noqa: S311 (as above)
        query = {**self.selector, "resourceVersion": version, "timeoutSeconds": str(seconds)}
        for event in self.api.watch(self.path, query):
            one = event["object"]
            name, version = one["metadata"].get("name", ""), one["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            objects.pop(name, None)
            if event["type"] != "DELETED":
                objects[name] = one
            self.publish(list(objects.values()))
        return version
