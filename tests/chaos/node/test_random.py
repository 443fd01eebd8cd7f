"""Test random pulls with random faults."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from controller.objects.resources import POD
from hostess.hostsfile import hosts_block
from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE
from tests.support.pulling import pushed
from tests.support.traces import add_foreign, traces

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed

    Fault = Callable[[Testbed, random.Random, list[str]], AbstractContextManager[None]]

REPLICAS = 2
# Seconds until a pod runs, after a cut body, a retry of the kubelet, or on a loaded machine.
DEADLINE = 60.0
CALM = 180.0  # seconds until all is healthy; container restarts have a growing backoff
# Restarts of a container; after the second the backoff is long, so the test deletes the pod.
RESTARTS = 1
FOREIGN = b"192.0.2.9\trandom.local.test\n# latin-1: \xe9\n"
CACHES, AGENTS = "mirror=world,component=registry", "mirror=world,component=hostess-certificate"
CONTROLLERS, WEBHOOKS = (f"app.kubernetes.io/name=registrymirror-{each}" for each in ("controller", "webhook"))


def test_random_pulls_with_random_faults(world: Testbed, chaos: Chaos, dice: random.Random, minutes: float) -> None:
    """Each possible pull ends within a deadline, and in the end the node is as before."""
    node = world.node
    given = node.read("/etc/hosts")
    foreign, files = add_foreign(node, FOREIGN), on_the_node(world)
    images, took, faults = pushed(world, "warm"), [], []
    deck: list[str] = []
    ends = time.monotonic() + 60 * minutes
    while time.monotonic() < ends:
        deck = deck or dice.sample(list(FAULTS), len(FAULTS))  # each fault once per round, in random order
        name = deck.pop()
        with FAULTS[name](world, dice, images):
            image = dice.choice(images)
            took.append(world.pull(image, DEADLINE))
        faults.append(name)
        assert hosts_block.parse(node.read("/etc/hosts")).foreign == foreign
    recovered = world.until(
        lambda: world.ready_caches("world") == REPLICAS and on_the_node(world) == files,
        CALM,
        describe=lambda: differing(world, files),
    )
    world.wait_ready("world")
    assert hosts_block.parse(node.read("/etc/hosts")).foreign == foreign
    node.write("/etc/hosts", given)
    note = f"{len(took)} pulls, the slowest {max(took):.1f} s; " + ", ".join(
        f"{faults.count(each)} {each}" for each in FAULTS
    )
    chaos.row("random faults beside random pulls", lost=f"0 of {len(took)} pods", recovered=recovered, note=note)


def on_the_node(testbed: Testbed) -> set[str]:
    """Return all traces except the backup, which holds foreign content of the last write."""
    return {line for line in traces(testbed.node) if "/etc/mirror-hostess" not in line}


def differing(testbed: Testbed, files: set[str]) -> str:
    """Describe the differences for a failed assertion."""
    testbed.keep_logs()
    now, logs = on_the_node(testbed), {pod: text for pod, text in testbed.logs.items() if '"hostess"' in text}
    parts = {
        "caches ready": testbed.ready_caches("world"),
        "gone": files - now,
        "new": now - files,
        "agents": logs,
    }
    return "\n".join(f"{name}: {part}" for name, part in parts.items())


@contextmanager
def nothing(_land: Testbed, _dice: random.Random, _images: list[str]) -> Iterator[None]:
    """Inject no new fault."""
    yield


def death_of(selector: str) -> Fault:
    """Kill one of these pods without waiting for it."""

    @contextmanager
    def killed(testbed: Testbed, dice: random.Random, _images: list[str]) -> Iterator[None]:
        testbed.until(lambda: pods(testbed, selector))  # none right after scaling to zero
        die(testbed, dice.choice(sorted(pods(testbed, selector))))
        yield

    return killed


def pods(testbed: Testbed, selector: str) -> list[str]:
    """Return names of pods."""
    return [pod["metadata"]["name"] for pod in testbed.kube.every(POD, labelSelector=selector)]


def die(testbed: Testbed, pod: str) -> None:
    """Kill a pod's processes, or the pod."""
    testbed.keep_logs(AGENTS)
    live = testbed.kube.find(POD, pod) or {"status": {}}
    if any(each["restartCount"] >= RESTARTS for each in live["status"].get("containerStatuses", ())):
        testbed.kubectl("delete", "pod", pod, "--ignore-not-found", "--force", "--grace-period=0")
    else:
        testbed.node.run("kill", "-9", *processes(testbed.node, pod, NAMESPACE), check=False)


@contextmanager
def scaled_to_zero(testbed: Testbed, _dice: random.Random, _images: list[str]) -> Iterator[None]:
    """Scale to zero by hand; the controller repairs it, and the claims stay."""
    testbed.kubectl("scale", "statefulset", "registry-mirror-world", "--replicas=0")
    yield


@contextmanager
def without_upstream(testbed: Testbed, dice: random.Random, images: list[str]) -> Iterator[None]:
    """Stop the upstream once both caches have all images, then kill one cache."""
    testbed.until(lambda: testbed.ready_caches("world") == REPLICAS and testbed.hosts_toml(testbed.world.host), CALM)
    for address in testbed.caches("world").values():
        for image in images:
            testbed.fetch(address, image)
    testbed.world.stop()
    try:
        die(testbed, dice.choice(sorted(testbed.caches("world"))))
        yield
    finally:
        testbed.world.start()


FAULTS: dict[str, Fault] = {
    "none": nothing,
    "cache killed": death_of(CACHES),
    "agent killed": death_of(AGENTS),
    "controller killed": death_of(CONTROLLERS),
    "webhook killed": death_of(WEBHOOKS),
    "scaled to 0": scaled_to_zero,
    "without upstream": without_upstream,
}
