"""Measure one mirror of ten registries beside ten mirrors of one: `python -m benchmarks.registries`.

It needs root on Debian Linux, as `make e2e`. Nothing is pulled: the registries do not exist.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.localcluster.cluster import Cluster
from tests.localcluster.node import fake_server
from tests.localcluster.node.installed import NAMESPACE, Installed
from tests.localcluster.node.node import Node
from tests.localcluster.node.runtime import FLAVOURS
from tests.support.testbed import Testbed

HOSTS: Final = [f"registry-{number}.example.com" for number in range(10)]
PODS: Final = {"agents": "component=hostess-certificate", "caches": "component=registry"}
# The controller watches Services too, so the watches before the mirrors do not count.
WATCHES: Final = re.compile(
    r'^apiserver_longrunning_requests\{.*resource="(?:services|endpointslices)".*verb="WATCH".*\} (\d+)$', re.MULTILINE
)
RESIDENT, PROPORTIONAL = "Rss", "Pss"
MEGABYTE: Final = 1_000_000


def main() -> None:
    """Measure and print a line for each figure."""
    with tempfile.TemporaryDirectory() as folder, Node(Cluster(Path(folder) / "cluster"), flavour=FLAVOURS[0]) as node:
        node.start()
        testbed = Testbed(node, Installed(node).install(), *[None] * 3)  # type: ignore[arg-type]
        before = _watches(testbed)
        names = [f"mirror-{number}" for number in range(len(HOSTS))]
        for name, host in zip(names, HOSTS, strict=True):
            testbed.apply_mirror(name, host)
        for name in names:
            testbed.wait_ready(name)
        _show("ten mirrors", testbed, before)
        for name in names:
            testbed.delete(name)
        testbed.apply_mirror("many", HOSTS[0], additionalUpstreams=[{"upstreamUrl": host} for host in HOSTS[1:]])
        testbed.wait_ready("many")
        _show("one mirror of ten registries", testbed, before)
        testbed.kube.close()


def _show(name: str, testbed: Testbed, before: int) -> None:
    for kind, selector in PODS.items():
        pods = testbed.kubectl("get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}").split()
        processes = [pid for pod in pods for pid in fake_server.processes(testbed.node, pod, NAMESPACE)]
        sizes = [sum(_size(testbed, pid, each) for pid in processes) for each in (RESIDENT, PROPORTIONAL)]
        _print(f"{name}: {len(processes)} {kind}, {sizes[0]:.0f} MB resident, {sizes[1]:.0f} MB proportional")
    _print(f"{name}: {_watches(testbed) - before} watches of agents")


def _size(testbed: Testbed, pid: str, kind: str) -> float:
    """Return the memory of a process in MB."""
    lines = testbed.node.run("cat", f"/proc/{pid}/smaps_rollup").stdout.splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024 / MEGABYTE


def _watches(testbed: Testbed) -> int:
    """Return the number of watches of Services and EndpointSlices."""
    return sum(map(int, WATCHES.findall(testbed.kubectl("get", "--raw", "/metrics"))))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
