"""Measure pulls on a real node with and without a mirror, and our memory: `python -m benchmarks.pulls`.

It needs root on Debian Linux, as `make e2e`. Compared figures are measured in turns of one run.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.localcluster.cluster import Cluster
from tests.localcluster.node import dockerfiles, fake_server
from tests.localcluster.node.installed import NAMESPACE, Installed
from tests.localcluster.node.node import Node
from tests.localcluster.node.runtime import FLAVOURS
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.testbed import Testbed

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = (60.0, 50.0, 40.0, 30.0, 25.0)  # MB of random bytes: 205
PROGRAMS = {  # label selectors of the pods
    "webhook": "app.kubernetes.io/name=registrymirror-webhook",
    "controller": "app.kubernetes.io/name=registrymirror-controller",
    "node agent": "component=hostess-certificate",
    "registry (cache)": "component=registry",
}
PULLED = re.compile(r"Successfully pulled image .* in (?P<took>[\dm.]+m?s) ")
MEGABYTE = 1_000_000
Row = tuple[str, str]


def main() -> None:
    """Measure on a node of each flavour and print a table for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pulls", description=__doc__)
    parser.add_argument("--flavour", choices=FLAVOURS, action="append", help="container runtime (all)")
    parser.add_argument("--rounds", type=int, default=3, help="pulls of each kind; the median counts (3)")
    given = parser.parse_args()
    for flavour in given.flavour or FLAVOURS:
        with _testbed(flavour) as testbed:
            rows = [*_beginning(testbed), *_pulls(testbed, given.rounds), *_withdrawal(testbed), *_cost(testbed)]
        width = max(len(name) for name, _ in rows)
        print(f"\n{flavour}\n" + "\n".join(f"  {name:{width}}  {value}" for name, value in rows), flush=True)


@contextmanager
def _testbed(flavour: str) -> Iterator[Testbed]:
    with tempfile.TemporaryDirectory() as folder, Node(Cluster(Path(folder) / "cluster"), flavour=flavour) as node:
        node.start()
        # No counting proxy stands before the registry: it would limit the figures.
        world = Upstream(node, "world.local.test", 9, ca=PUBLIC, direct=True).prepare().start()
        testbed = Testbed(node, Installed(node).install(), world, world, world)
        yield testbed
        testbed.kube.close()


def _beginning(testbed: Testbed) -> Iterator[Row]:
    image = testbed.world.push("lib/first:1", (1.0,))
    began = time.monotonic()
    testbed.mirror("world", testbed.world, replicas=2)
    yield "apply of the mirror to Ready", f"{time.monotonic() - began:.1f} s"
    pod = testbed.start_pull(image)
    testbed.runs(pod, image)
    yield "apply to the first pod with an image through it", f"{time.monotonic() - began:.1f} s"
    testbed.forget(pod, image)
    if testbed.counted("world") < MEGABYTE:
        raise RuntimeError("the first pull did not come through the mirror")


def _pulls(testbed: Testbed, rounds: int) -> Iterator[Row]:
    """Measure pulls, and as their limit the download of the same bytes over TLS."""
    image = testbed.world.push("lib/large:1", LAYERS)
    cold = _pulled(testbed, image)
    mirrored, straight, copied = [], [], []
    for _ in range(rounds):
        mirrored.append(_pulled(testbed, image))
        testbed.kubectl("scale", "deployment", "registrymirror-controller", "--replicas=0")
        with fake_server.fake_server(testbed.node, testbed.address("world"), fault=503):
            testbed.until(lambda: not testbed.hosts_toml(testbed.world.host), 30)
            straight.append(_pulled(testbed, image))
        testbed.kubectl("scale", "deployment", "registrymirror-controller", "--replicas=2")
        copied.append(_copied(testbed))
        testbed.until(lambda: testbed.hosts_toml(testbed.world.host), 60)
    yield "205 MB pull, cold, through the mirror", f"{cold:.2f} s"
    middle = statistics.median
    for name, found in (("warm, through the mirror", mirrored), ("from the upstream", straight)):
        yield f"205 MB pull, {name}", f"{middle(found):.2f} s ({', '.join(f'{each:.2f}' for each in found)})"
    yield "the same bytes over loopback TLS", f"{middle(copied):.2f} s ({', '.join(f'{each:.2f}' for each in copied)})"
    yield (
        "mirror / upstream, mirror / loopback",
        (f"{middle(mirrored) / middle(straight):.2f}, {middle(mirrored) / middle(copied):.2f}"),
    )


def _pulled(testbed: Testbed, image: str) -> float:
    """Return the seconds of a pull, as the kubelet reports them, and remove the image."""
    pod = testbed.start_pull(image)
    testbed.runs(pod, image, 120)
    events = testbed.node.cluster.run_kubectl("events", f"--for=pod/{pod}").stdout
    testbed.forget(pod, image)
    found = _match(PULLED, events)
    minutes, _, rest = found["took"].rpartition("m") if not found["took"].endswith("ms") else ("", "", found["took"])
    seconds = float(rest[:-2]) / 1000 if rest.endswith("ms") else float(rest[:-1])
    return seconds + 60 * int(minutes or 0)


def _copied(testbed: Testbed) -> float:
    blobs = testbed.blobs(testbed.world, "lib/large", "1")
    urls = [f"https://{testbed.world.address}/v2/lib/large/blobs/{digest}" for digest in blobs]
    words = [word for url in urls for word in ("--output", "/dev/null", url)]
    began = time.monotonic()
    testbed.node.run("curl", "--silent", "--insecure", "--fail", *words)
    return time.monotonic() - began


def _withdrawal(testbed: Testbed) -> Iterator[Row]:
    """Measure from each fault until hosts.toml is gone."""
    address = testbed.address("world")
    gone = lambda: not testbed.hosts_toml(testbed.world.host)  # noqa: E731 (used three times below)
    testbed.node.drop_packets(address)
    yield "hosts.toml removed after: packets are dropped", f"{testbed.until(gone, 60):.1f} s"
    testbed.node.let_packets(address)
    for name, fault in (("the mirror accepts and hangs", "hang"), ("the mirror has a wrong certificate", 200)):
        testbed.until(lambda: testbed.hosts_toml(testbed.world.host), 60)
        with fake_server.fake_server(testbed.node, address, fault=fault):
            yield f"hosts.toml removed after: {name}", f"{testbed.until(gone, 60):.1f} s"
    testbed.until(lambda: testbed.hosts_toml(testbed.world.host), 60)


def _cost(testbed: Testbed) -> Iterator[Row]:
    for name, selector in PROGRAMS.items():
        pods = testbed.kubectl("get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}").split()
        sizes = [_resident(testbed, pid) for pod in pods for pid in fake_server.processes(testbed.node, pod, NAMESPACE)]
        yield f"resident, {name}", ", ".join(f"{size:.0f}" for size in sizes) + " MB"
    for program in ("webhook", "controller", "cache", "hostess"):
        size = dockerfiles.unpacked_over_base(dockerfiles.build(program)) / MEGABYTE
        yield f"image of {program}, unpacked over its base", f"{size:.1f} MB"


def _resident(testbed: Testbed, pid: str) -> float:
    """Return the resident memory in MB."""
    status = testbed.node.run("cat", f"/proc/{pid}/status").stdout
    return int(_match(re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE), status)[1]) * 1024 / MEGABYTE


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.search(text)
    if found is None:
        raise RuntimeError(f"no {pattern.pattern} in: {text}")
    return found


if __name__ == "__main__":
    main()
