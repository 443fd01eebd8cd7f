"""Pull images in the background of a fault, one after the other.

with pulling(testbed, images) as pulls:
    ...                      # the fault
    pulls.more(5)            # five more have ended
assert not pulls.failed
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.localcluster.node.runtime import ONE_ROOT
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.localcluster.node.node import Node
    from tests.support.testbed import Testbed

PATIENCE: Final = 120.0  # seconds; a pull takes 0.5, and over 60 with lost packets
# Namespace of containerd. In the kubelet's own, other names would keep the content on the node.
OWN: Final = "--namespace=pulls"
LAYER: Final = 1.0  # megabytes of an image


@dataclass
class Pulls:
    """Results of pulls by containerd's own client, which reads hosts.toml as the kubelet's pulls do."""

    testbed: Testbed
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def pull(self, image: str) -> None:
        """Pull an image and remove it from the node. The kubelet would retry, and needs an API server."""
        began = time.monotonic()
        done = self.testbed.node.ctr(OWN, "images", "pull", f"--hosts-dir={ONE_ROOT}", image, check=False)
        if done.returncode:
            self.failed.append(f"{image} after {time.monotonic() - began:.1f} s: {done.stderr[-500:]}")
        else:
            self.testbed.node.ctr(OWN, "images", "rm", "--sync", image)
        self.seconds.append(time.monotonic() - began)

    def lost(self) -> str:
        """Return the number of failures for the report."""
        return f"{len(self.failed)} of {len(self.seconds)} pulls"

    def more(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until this many more pulls have ended."""
        goal = len(self.seconds) + count + 1
        until(lambda: len(self.seconds) >= goal, why=f"{count} more pulls end; {self.failed}", seconds=seconds)


@contextmanager
def pulling(testbed: Testbed, images: Sequence[str]) -> Iterator[Pulls]:
    """Pull these images in turn during the block."""
    pulls, ended = Pulls(testbed), threading.Event()

    def pull_each() -> None:
        for image in itertools.cycle(images):
            if ended.is_set():
                return
            pulls.pull(image)

    thread = threading.Thread(target=pull_each)
    thread.start()
    try:
        yield pulls
    finally:
        ended.set()
        thread.join()


def pushed(testbed: Testbed, name: str, count: int = 3) -> list[str]:
    """Push images with one name and several tags to the public upstream; return their names."""
    return [testbed.world.push(f"lib/{name}:{number}", (LAYER,)) for number in range(count)]


def pull_at_once(node: Node, image: str, clients: int) -> None:
    """Fetch the content of an image by several clients at once, each in a namespace of its own."""

    def fetch(number: int) -> None:
        node.ctr(f"--namespace=client-{number}", "content", "fetch", f"--hosts-dir={ONE_ROOT}", image)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(fetch, range(clients)))
