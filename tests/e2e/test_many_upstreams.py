"""One mirror of five registries, three of them with credentials, through one pair of cache pods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from controller.objects.resources import DAEMON_SET
from tests.localcluster.node.accounts import Account
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.canary import traces as canaries
from tests.support.testbed_setup import ACCOUNT
from tests.support.traces import changed, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

FOLLOWED = 120.0  # seconds until both caches use a changed configuration; 10 are usual
SIZE = 2_000_000  # bytes that each image has at least
NOT_FOUND = 404


@pytest.fixture(scope="module")
def upstreams(testbed: Testbed) -> Iterator[list[Upstream]]:
    """Return a public registry, Docker Hub's stand-in, and three with accounts; one of these has a token service."""
    added = [
        Upstream(testbed.node, "basic.local.test", 21, Account("basic", "word-for-basic"), ca=PUBLIC),
        Upstream(testbed.node, "tokens.local.test", 22, Account("tokens", "word-for-tokens"), tokens=True, ca=PUBLIC),
    ]
    for each in added:
        each.prepare().start()
    yield [testbed.world, testbed.hub, testbed.private, *added]
    for each in added:
        each.stop()


def test_five_upstreams_through_one_pair_of_caches(testbed: Testbed, upstreams: list[Upstream]) -> None:
    """Pulls of all five, a Secret changed, one upstream away, one removed, and a clean node in the end."""
    before = traces(testbed.node)
    world, hub, private, basic, tokens = upstreams
    wrong = testbed.secret("of-basic", username="basic", password="wrong")
    entries = [
        {"upstreamUrl": "docker.io"},
        {"upstreamUrl": private.host, "credentialsSecret": testbed.credentials(private, "of-private")},
        {"upstreamUrl": basic.host, "credentialsSecret": wrong},
        {"upstreamUrl": tokens.host, "credentialsSecret": testbed.credentials(tokens, "of-tokens")},
    ]
    volumes = testbed.apply_mirror("many", world.host, replicas=2, additionalUpstreams=entries)

    # A wrong Secret of one upstream: the condition names it alone, and the four others are served.
    refused = testbed.becomes("many", "CredentialsAvailable", "CredentialsRefused", FOLLOWED)
    assert f"{basic.host}: https://{basic.host} refuses the credentials in Secret" in refused["message"]
    assert not any(each.host in refused["message"] for each in (world, hub, private, tokens))
    started, agent = testbed.started("many"), testbed.agent("many")
    images = {each.host: each.push("team/app:1", (2.0,)) for each in upstreams}
    for each in (world, hub, private, tokens):
        _comes_through(testbed, each, images[each.host])
    testbed.fails(images[basic.host])

    # The Secret is corrected: no pod restarts for it.
    testbed.credentials(basic, "of-basic")
    testbed.becomes("many", "CredentialsAvailable", "CredentialsAccepted", FOLLOWED)
    testbed.wait_ready("many")
    testbed.until(lambda: testbed.tag_status("many", "team/app", "1", basic.host) == 200, FOLLOWED)
    _comes_through(testbed, basic, images[basic.host])
    reachable = testbed.condition("many", "UpstreamReachable")
    assert (reachable["status"], reachable["message"]) == ("True", "All 5 upstreams answer.")

    # For runtimes without `ns`: the first component of the path. With `ns` the path is taken as it is.
    for each in upstreams:
        assert testbed.tag_status("many", f"{each.image_host}/team/app", "1") == 200, each.host
        assert testbed.tag_status("many", f"{each.image_host}/team/app", "1", world.host) == NOT_FOUND
    for host in ("169.254.169.254", "localhost", "unknown.local.test"):
        assert testbed.tag_status("many", "team/app", "1", host) == NOT_FOUND
        assert testbed.tag_status("many", f"{host}/team/app", "1") == NOT_FOUND

    # One upstream away: it is named, what is stored of it is served, and the others are unharmed.
    tokens.stop()
    _comes_through(testbed, tokens, images[tokens.host])
    away = testbed.becomes("many", "UpstreamReachable", "ConnectionRefused", FOLLOWED)
    assert away["message"].startswith(f"4 of 5 upstreams answer. {tokens.host}: ")
    for each in (world, hub, private, basic):
        _comes_through(testbed, each, each.push("team/app:2", (2.0,)))
    tokens.start()
    testbed.becomes("many", "UpstreamReachable", "Reachable", FOLLOWED)

    # One removed from the list: nothing of it is served or left.
    blob = testbed.blobs(world, "team/app", "1")[-1]
    held = sum(map(testbed.size, volumes))
    testbed.change("many", additionalUpstreams=[each for each in entries if each["upstreamUrl"] != private.host])
    testbed.until(lambda: not testbed.hosts_toml(private.host), 30)
    testbed.until(lambda: testbed.tag_status("many", "team/app", "1", private.host) == NOT_FOUND, FOLLOWED)
    testbed.until(lambda: sum(map(testbed.size, volumes)) < held - SIZE, FOLLOWED)
    assert testbed.tag_status("many", f"{private.host}/team/app", "1") == NOT_FOUND
    assert testbed.serves_blob("many", "team/app", blob)
    testbed.wait_ready("many")
    for each in (world, hub, basic, tokens):
        _comes_through(testbed, each, images[each.host])

    # All of it with the same pods, and each account was sent to its own upstream only.
    assert testbed.started("many") == started
    assert testbed.agent("many") == agent
    assert len(testbed.kube.every(DAEMON_SET, labelSelector="mirror=many")) == 1
    assert canaries(testbed.visible_text(), ["word-for-basic", "word-for-tokens", ACCOUNT.password]) == []
    testbed.delete("many")
    assert changed(testbed.node, before) == set()


def _comes_through(testbed: Testbed, upstream: Upstream, image: str) -> None:
    """Pull an image, and assert that its bytes come through the mirror as those of its upstream."""
    passed = testbed.counted("many", upstream=upstream.image_host)
    testbed.pull(image)
    assert testbed.counted("many", upstream=upstream.image_host) > passed + SIZE, json.dumps(
        testbed.condition("many", "NodesConfigured")
    )
