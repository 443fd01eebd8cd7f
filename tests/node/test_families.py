"""Pull over IPv4 and over IPv6 on dual-stack nodes, each with another primary family.

These tests are here because each module of this folder has its own node. In tests/e2e it would be a further one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from common import names
from controller.objects.resources import MIRROR, SERVICE
from tests.localcluster.families import CHOICES, IPV4, IPV6
from tests.localcluster.node.runtime import DEBIAN, FLAVOURS, MODULES
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.testbed_setup import start_testbed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

ORDER: Final = {DEBIAN: "ipv4,ipv6", MODULES: "ipv6,ipv4"}
LITERAL: Final = 7  # host number of the upstream at an IPv6 address
SIZE: Final = 2_000_000  # bytes of the random layer of an image


@pytest.fixture(scope="module", params=FLAVOURS)
def dual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Start a dual-stack node with a mirror of two replicas."""
    folder = tmp_path_factory.mktemp("families") / "cluster"
    with start_testbed(folder, request.param, CHOICES[ORDER[request.param]]) as testbed:
        testbed.mirror("world", testbed.world, replicas=2)
        yield testbed


def push(upstream: Upstream, name: str) -> str:
    """Push an image with a layer of SIZE bytes; return its name."""
    return upstream.push(name, (SIZE / 1_000_000,))


def addresses(testbed: Testbed) -> dict[str, str]:
    """Return the cluster IPs of the mirror by family, the primary one first."""
    found = testbed.kube.get(SERVICE, names.object_name("world"))["spec"]["clusterIPs"]
    return {IPV6 if ":" in each else IPV4: each for each in found}


@contextmanager
def without(testbed: Testbed, family: str) -> Iterator[None]:
    """Drop all packets of the node to the mirror's address of a family."""
    address = addresses(testbed)[family]
    testbed.node.drop_packets(address)
    try:
        yield
    finally:
        testbed.node.let_packets(address)


def test_services_have_both_families(dual: Testbed) -> None:
    """The cluster's primary family is first, also in the status and in the hosts file of the node."""
    found = addresses(dual)
    assert tuple(found) == dual.node.families.order
    assert dual.kube.get(MIRROR, "world")["status"]["clusterIPs"] == list(found.values())
    lines = [line.split() for line in dual.node.read("/etc/hosts").decode().splitlines()]
    name = names.default_masquerade(dual.world.host)
    assert [line[0] for line in lines if line[1:] == [name]] == list(found.values())
    headless = dual.kube.get(SERVICE, names.headless_name("world"))["spec"]
    assert tuple(family.lower() for family in headless["ipFamilies"]) == dual.node.families.order


def test_pull_over_the_primary_family(dual: Testbed) -> None:
    """Packets to the other address are lost, so all bytes come over this family."""
    image, before = push(dual.world, "lib/primary:1"), dual.counted("world")
    with without(dual, dual.node.families.order[1]):
        dual.pull(image)
    assert dual.counted("world") > before + SIZE


def test_pull_without_the_primary_family(dual: Testbed) -> None:
    """The agent probes the primary address: while it is silent, pulls go to the upstream."""
    image = push(dual.world, "lib/secondary:1")
    with without(dual, dual.node.families.first):
        dual.until(lambda: not dual.hosts_toml(dual.world.host))
        dual.pull(image)
    dual.until(lambda: dual.hosts_toml(dual.world.host))


def test_pulling_node_is_counted(dual: Testbed) -> None:
    """The runtime chooses the family of a pull. New caches have seen no pull over the other one."""
    dual.restart_caches("world", dual.world.host)
    dual.pull(push(dual.world, "lib/counted:1"))
    count = ("get", "rm", "world", "-o", "jsonpath={.status.nodes.pulling}")
    dual.until(lambda: dual.kubectl(*count) == "1", describe=lambda: dual.describe("world"))


def test_replicas_fetch_from_each_other(dual: Testbed) -> None:
    """Each byte comes from the upstream once."""
    image, before = push(dual.world, "lib/shared:1"), dual.world.bytes()
    for address in dual.caches("world").values():
        dual.fetch(address, image)
    assert SIZE < dual.world.bytes() - before < 2 * SIZE


def test_upstream_at_an_ipv6_address(dual: Testbed) -> None:
    """Images have the address in brackets as their host, with and without the port.

    containerd 1.6 does not parse such names, so images there have the mirror's name.
    """
    literal = Upstream(dual.node, "literal.local.test", LITERAL, ca=PUBLIC, family=IPV6).prepare().start()
    host = f"[{literal.address}]"
    dual.apply_mirror("literal", host)
    dual.wait_ready("literal")
    pushed = push(literal, "lib/literal:1")
    masquerade = dual.kubectl("get", "rm", "literal", "-o", "jsonpath={.status.masqueradeUrl}")
    hosts = [masquerade, host, f"{host}:443"]
    if dual.node.flavour == DEBIAN:
        assert "invalid reference format" in dual.fails(pushed.replace(literal.host, host))
        hosts = [masquerade]
    for name in hosts:
        before = dual.counted("literal")
        image = pushed.replace(literal.host, name)
        pod = dual.start_pull(image)
        dual.node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
        dual.forget(pod, image)
        assert dual.counted("literal") > before + SIZE, name
    dual.delete("literal")
