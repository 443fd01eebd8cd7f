"""What the API server was asked, by its own audit log: who, what, when, and how it ended.

Read while nothing is measured: the log costs the one who measures no request, and its times are the server's own.
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

POLL: Final = 0.1  # seconds between two looks at the log
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request. `resource` has the subresource behind a slash; times are seconds since 1970."""

    user: str
    verb: str
    resource: str
    name: str
    status: int
    received: float
    answered: float

    @property
    def is_write(self) -> bool:
        """Whether it was to change something."""
        return self.verb in WRITES

    @property
    def succeeded(self) -> bool:
        """Whether it did."""
        return self.status < 400


class Audit:
    """Follows one audit log from where it now ends."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = log.stat().st_size
        self._rest = b""
        self.requests: list[Request] = []

    def look(self) -> list[Request]:
        """Everything that was answered since this object was made; a watch counts when it begins."""
        with self._log.open("rb") as file:
            file.seek(self._position)
            fresh = file.read()
        self._position += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        self.requests += filter(None, map(_request, lines))
        return self.requests

    def of(self, user: str) -> list[Request]:
        """Those of one user, as of the last look, less the lease's, which goes on whatever happens."""
        return [each for each in self.requests if each.user == user and each.resource != "leases"]

    def until(self, enough: Callable[[list[Request]], bool], why: str, seconds: float) -> list[Request]:
        """All requests, once they are enough."""
        limit = time.monotonic() + seconds
        while not enough(self.look()):
            if time.monotonic() > limit:
                raise TimeoutError(f"not within {seconds:.0f} s: {why}")
            time.sleep(POLL)
        return self.requests

    def until_quiet(self, user: str, quiet: float, seconds: float) -> list[Request]:
        """What a user asked, once it asked nothing for `quiet` seconds."""
        self.until(lambda _: _silence(self.of(user)) > quiet, f"{user} stops asking", seconds)
        return self.of(user)


def _silence(requests: list[Request]) -> float:
    return time.time() - max((each.answered for each in requests), default=0.0)


def by_verb(requests: Iterable[Request]) -> dict[str, int]:
    """How many there are of each `verb resource`, the most frequent first."""
    return dict(Counter(f"{each.verb} {each.resource}" for each in requests).most_common())


def writes_an_object(requests: Iterable[Request]) -> Counter[str]:
    """How often each object was written, by `resource/name`; a status counts as an object of its own."""
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
