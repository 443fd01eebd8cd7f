"""Cause reviews during a fault: dry-run creates of mirrors at a given rate, with their results."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx

from controller.objects.resources import MIRROR
from tests.support.kube import Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.localcluster.cluster import Cluster

CLIENTS: Final = 4


@dataclass
class Reviews:
    """`times` are the monotonic times of the successes; `failed` has the API server's messages for the others."""

    times: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def more(self, count: int, seconds: float = 60.0) -> None:
        """Wait for `count` more successes."""
        goal = len(self.times) + count
        until(lambda: len(self.times) >= goal, why=f"{count} more reviews; {self.failed[:3]}", seconds=seconds)

    @property
    def rate(self) -> float:
        """Return the successes per second."""
        return len(self.times) / (self.times[-1] - self.times[0])


@contextmanager
def reviewing(cluster: Cluster, rate: float) -> Iterator[Reviews]:
    """Cause `rate` reviews per second from several clients within the block.

    Each create causes two reviews, one per webhook, and stores nothing.
    """
    reviews, ended = Reviews(), threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(cluster, rate / 2 / CLIENTS, reviews, ended)) for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield reviews
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _ask(cluster: Cluster, rate: float, reviews: Reviews, ended: threading.Event) -> None:
    kube, due = Kube(cluster), time.monotonic()
    body = a_mirror().named("reviewed").of("reviewed.example.com").raw()
    while not ended.wait(max(0.0, due - time.monotonic())):
        due = max(due + 1 / rate, time.monotonic() - 1)
        try:
            answer = kube.http.post(MIRROR.path(None), params={"dryRun": "All"}, json=body)
        except httpx.HTTPError as error:
            reviews.failed.append(repr(error))
            continue
        if answer.status_code == httpx.codes.CREATED and "replicas" in answer.json()["spec"]:
            reviews.times.append(time.monotonic())
        else:
            reviews.failed.append(f"{answer.status_code} {answer.text}")
    kube.close()
