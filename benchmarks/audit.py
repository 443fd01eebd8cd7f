"""Read the requests to the API server from its audit log.

The log costs no request, and its times are the API server's own. It is read between measurements.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

POLL_INTERVAL: Final = 0.1  # seconds
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request. `resource` may end in `/subresource`; times are seconds since 1970."""

    user: str
    verb: str
    resource: str
    name: str
    status: int
    received: float
    answered: float

    @property
    def is_write(self) -> bool:
        """Return True if the request changes objects."""
        return self.verb in WRITES

    @property
    def succeeded(self) -> bool:
        """Return True if the API server granted the request."""
        return self.status < 400


class Audit:
    """The new lines of an audit log, from its present end on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = log.stat().st_size
        self._rest = b""
        self.requests: list[Request] = []

    def read(self) -> list[Request]:
        """Return all requests answered so far. A watch counts at its start."""
        with self._log.open("rb") as file:
            file.seek(self._position)
            fresh = file.read()
        self._position += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        self.requests += filter(None, map(_request, lines))
        return self.requests

    def of(self, user: str) -> list[Request]:
        """Return the requests of one user that were read, without those for leases."""
        return [each for each in self.requests if each.user == user and each.resource != "leases"]

    def until(self, condition: Callable[[list[Request]], bool], description: str, seconds: float) -> list[Request]:
        """Wait until the requests meet the condition, and return them."""
        limit = time.monotonic() + seconds
        while not condition(self.read()):
            if time.monotonic() > limit:
                raise TimeoutError(f"not within {seconds:.0f} s: {description}")
            time.sleep(POLL_INTERVAL)
        return self.requests

    def until_quiet(self, user: str, quiet: float, seconds: float) -> list[Request]:
        """Wait until a user sends nothing for `quiet` seconds, and return its requests."""
        self.until(lambda _: _silence(self.of(user)) > quiet, f"no more requests of {user}", seconds)
        return self.of(user)


def _silence(requests: list[Request]) -> float:
    return time.time() - max((each.answered for each in requests), default=0.0)


def by_verb(requests: Iterable[Request]) -> dict[str, int]:
    """Count the requests by `verb resource`, the most frequent first."""
    return dict(Counter(f"{each.verb} {each.resource}" for each in requests).most_common())


def writes_per_object(requests: Iterable[Request]) -> Counter[str]:
    """Count the writes by `resource/name`. A status counts as a separate object."""
    return Counter(f"{each.resource}/{each.name}" for each in requests if each.is_write and each.succeeded)


def _request(line: bytes) -> Request | None:
    event: dict[str, Any] = orjson.loads(line)
    wanted = "ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"
    if event["stage"] != wanted or "objectRef" not in event:
        return None
    target = event["objectRef"]
    resource = target["resource"] + (f"/{target['subresource']}" if "subresource" in target else "")
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        resource=resource,
        name=target.get("name", ""),
        status=event.get("responseStatus", {}).get("code", 0),
        received=_seconds(event["requestReceivedTimestamp"]),
        answered=_seconds(event["stageTimestamp"]),
    )


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
