"""Registries that play an upstream: accounts, tokens, names, faults, counts."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node.accounts import Account
from tests.localcluster.node.runtime import DEBIAN
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.pods import a_pod, eventually, logs, pull_secret, reason, remove, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.localcluster.node.node import Node

# These are our own stand-ins, which do not know who pulls; tests/e2e pulls from them with each runtime.
pytestmark = pytest.mark.parametrize("node", [DEBIAN], indirect=True, scope="module")

ACCOUNT = Account("puller", "a password: {with} #signs")


@pytest.fixture(scope="module")
def world(node: Node) -> Iterator[Upstream]:
    """Run a registry with a public CA, no account, and an image of 20 MB."""
    upstream = Upstream(node, "world.local.test", number=9, ca=PUBLIC).prepare().start()
    upstream.push("lib/large:1", (20.0,))
    yield upstream
    upstream.stop()


def pull(node: Node, image: str, pod: str = "puller") -> None:
    """Pull an image by a pod that is gone afterwards, and the image with it."""
    node.apply([a_pod(pod, image)])
    runs(node, pod)
    assert logs(node, pod) == f"this is {image}\n"
    remove(node, pod)
    node.forget_image(image)


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
def test_pod_pulls_with_ca_and_account(node: Node, tokens: bool) -> None:  # noqa: FBT001
    """Without CA and password it does not; with both it does, and the registry has counted it."""
    host = f"{'tokens' if tokens else 'basic'}.local.test"
    upstream = Upstream(node, host, number=3 if tokens else 2, account=ACCOUNT, tokens=tokens).prepare().start()
    image = upstream.push("lib/test:1", (1.0, 0.5))
    node.write(f"/etc/containerd/certs.d/{host}/ca.crt", upstream.ca_file.read_bytes())
    node.apply([pull_secret(host, ACCOUNT), a_pod(f"puller-{host}", image, imagePullSecrets=[{"name": host}])])
    runs(node, f"puller-{host}")
    assert logs(node, f"puller-{host}") == f"this is {image}\n"
    assert upstream.count("blob", method="GET", status=200) >= 4  # all but busybox, which the node has
    assert upstream.bytes("blob") > 1_500_000
    assert bool(upstream.count("token")) is tokens
    node.apply([a_pod(f"stranger-{host}", image, container={"imagePullPolicy": "Always"})])
    assert eventually(lambda: "ErrImagePull" in reason(node, f"stranger-{host}"))
    upstream.stop()
    assert not node.answers(upstream.address, 443)


def test_docker_hub_has_a_stand_in(node: Node) -> None:
    """Images of docker.io/... come from it with an anonymous token."""
    hub = Upstream(
        node,
        "registry-1.docker.io",
        number=4,
        account=ACCOUNT,
        tokens=True,
        public=True,
        auth_host="auth.docker.io",
        ca=PUBLIC,
    )
    hub.prepare().start()
    assert hub.push("library/test:1") == "docker.io/library/test:1"
    pull(node, "docker.io/library/test:1")
    assert hub.count("token") > 0
    assert hub.count("manifest", part="/v2/library/test/", status=200) > 0
    hub.stop()


def ask(world: Upstream, path: str = "/v2/") -> int:
    """Send an anonymous request from outside; return the status."""
    node = world.node
    command = ["curl", "--silent", "--max-time", "2", "--output", "/dev/null", "--write-out", "%{http_code}"]
    output = node.run(*command, "--cacert", str(world.ca_file), f"https://{world.host}{path}", check=False)
    return int(output.stdout)


def test_an_upstream_answers_with_any_status(world: Upstream) -> None:
    """All requests get it until the fault ends."""
    for status in (401, 403, 404, 429, 503):
        world.fault(status)
        assert ask(world) == status
        assert ask(world, "/v2/lib/large/manifests/1") == status
    world.fault(None)
    assert ask(world) == http.client.OK
    assert world.count(status=429) == 2


def test_an_upstream_hangs(world: Upstream) -> None:
    """It takes a connection and says nothing; those who wait long enough are answered in the end."""
    world.fault("hang")
    assert world.node.answers(world.address, 443)
    before = world.count("ping")
    assert ask(world) == 0
    assert world.count("ping") == before
    world.fault(None)
    assert ask(world) == http.client.OK


def test_an_upstream_cuts_blobs_off(node: Node, world: Upstream) -> None:
    """The pull fails, and succeeds when it does so no more."""
    world.fault("truncate")
    node.apply([a_pod("cut", "world.local.test/lib/large:1")])
    assert eventually(lambda: "ErrImagePull" in reason(node, "cut"))
    world.fault(None)
    runs(node, "cut")
    remove(node, "cut")
    node.forget_image("world.local.test/lib/large:1")


def test_an_upstream_is_slow(node: Node, world: Upstream) -> None:
    """20 MB at 8 MB a second take more than two seconds; all bytes are counted when the pod runs."""
    before = world.bytes("blob")
    world.slow(8_000_000)
    begun = time.monotonic()
    pull(node, "world.local.test/lib/large:1")
    assert time.monotonic() - begun > 2
    world.slow(None)
    assert world.bytes("blob") - before > 20_000_000
