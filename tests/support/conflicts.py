"""Run a client that keeps changing objects of a mirror."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.kube import Kube

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running


@contextmanager
def conflicting_writer(running: Running, change: Callable[[Kube, int], None], interval: float) -> Iterator[None]:
    """Call `change` with a counter each `interval` seconds while the context is open."""
    stop = threading.Event()

    def run() -> None:
        client = Kube(running.cluster)
        for number in itertools.count():
            if stop.wait(interval):
                break
            change(client, number)
        client.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def conflict_reported(kube: Kube, mirror: str) -> bool:
    """Return True if an Event reports a conflicting writer."""
    return "ConflictingWriter" in {reason for _, reason, _ in kube.events(mirror)}
