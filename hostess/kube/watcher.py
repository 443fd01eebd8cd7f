"""Watch one collection of the API server: list, watch from there, and list again after an error."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hostess.kube.api_client import ApiClient, Gone

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from common.types import Json
    from hostess.json_log import Log


# Seconds before the next request to an API server that does not answer: doubled each time, and spread over the agents.
FIRST_BACKOFF: Final = 1.0
MAX_BACKOFF: Final = 30.0
# Seconds of one watch. Each agent has another length, so that they do not all reconnect together.
SHORTEST_WATCH: Final = 240
LONGEST_WATCH: Final = 480


@dataclass(slots=True)
class Reflector:
    """Call `publish` with all objects of a collection when one of them changes, until `stopping`."""

    api: ApiClient
    path: str
    selector: Mapping[str, str]
    publish: Callable[[list[Json]], None]
    log: Log
    stopping: threading.Event
    _backoff: float = FIRST_BACKOFF

    def run(self) -> None:
        """List and watch until `stopping`, whatever the API server answers."""
        while not self.stopping.is_set():
            try:
                self._list_then_watch()
            except Gone:
                self.stopping.wait(random.random())  # noqa: S311 (not all agents list at the same moment)
            except Exception as error:  # noqa: BLE001 (the boundary: a strange answer must not end the thread)
                why = f"{type(error).__name__}: {error}"
                self.log.warning("api server unreachable", why=why, retry_in=round(self._backoff))
                self.stopping.wait(self._backoff * random.uniform(0.5, 1.0))  # noqa: S311 (spreads the agents)
                self._backoff = min(2 * self._backoff, MAX_BACKOFF)

    def _list_then_watch(self) -> None:
        """List once, then watch from where the last watch ended, until one fails."""
        found = self.api.get(self.path, self.selector)
        objects = {obj["metadata"]["name"]: obj for obj in found["items"]}
        self.publish(list(objects.values()))
        self._backoff = FIRST_BACKOFF
        version = found["metadata"]["resourceVersion"]
        while not self.stopping.is_set():
            began = time.monotonic()
            version = self._watch(objects, version)
            if time.monotonic() - began < FIRST_BACKOFF:  # a proxy may end watches at once
                self.stopping.wait(FIRST_BACKOFF)

    def _watch(self, objects: dict[str, Json], version: str) -> str:
        """Watch once; return the resourceVersion to continue from."""
        seconds = random.randint(SHORTEST_WATCH, LONGEST_WATCH)  # noqa: S311 (as above)
        query = {**self.selector, "resourceVersion": version, "timeoutSeconds": str(seconds)}
        for event in self.api.watch(self.path, query):
            obj = event["object"]
            name, version = obj["metadata"].get("name", ""), obj["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            objects.pop(name, None)
            if event["type"] != "DELETED":
                objects[name] = obj
            self.publish(list(objects.values()))
        return version
