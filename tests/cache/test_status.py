"""The status port reports what happens, and depends on no upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import NODE_HEADER
from tests.cache.behaviour import Behaviour
from tests.cache.program import credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.types import Json
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

REQUESTS = "registrymirror_cache_requests_total"
NAMES = ["team/app", "team"]


async def _upstream(cache: Cache) -> Json:
    found: Json = (await cache.status())["upstreams"][0]
    return found


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (Behaviour(), "Reachable"),
        (Behaviour(html=True), "NotARegistry"),
        (Behaviour(healthy=True), "NotARegistry"),
        (Behaviour(status={"": 403}), "Forbidden"),
        (Behaviour(status={"": 429}, retry_after="100"), "RateLimited"),
    ],
    ids=["open", "web page", "JSON", "403", "429"],
)
async def test_idle_upstream_is_probed_at_start(
    upstream: Registry, make_cache: Callable[..., Cache], does: Behaviour, reason: str
) -> None:
    """Without a request of a client the reason is known, and health and readiness do not depend on it."""
    upstream.does = does
    cache = await make_cache().start()

    async def probed() -> bool:
        return bool((await _upstream(cache))["askedSecondsAgo"] is not None)

    await cache.until(probed)
    assert (await _upstream(cache))["reason"] == reason
    assert upstream.requests == [("GET", "/v2/")]
    assert [(await cache.status_page(page))[0] for page in ("healthz", "readyz")] == [200, 200]


async def test_upstream_is_probed_again_after_an_outage(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """The status follows within a minute without a request of a client."""
    upstream.does.status[""] = 503
    cache = await make_cache().start()

    async def reports(reason: str) -> bool:
        return bool((await _upstream(cache))["reason"] == reason)

    await cache.until(lambda: reports("ServerError"))
    upstream.does = Behaviour()
    await cache.until(lambda: reports("Reachable"), 45)


async def test_refused_image_does_not_refuse_credentials(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path
) -> None:
    """401 for one image with a valid login says nothing of the credentials in general."""
    upstream.does.auth = "bearer"
    cache = await make_cache(credentials=credentials(tmp_path / "account")).start()

    async def accepted() -> bool:
        return bool((await _upstream(cache))["credentials"] == "CredentialsAccepted")

    await cache.until(accepted)
    upstream.does.status["manifests"] = 401
    assert (await cache.ask("private/app/manifests/latest")).status == 401
    state = await _upstream(cache)
    assert (state["credentials"], state["reason"]) == ("CredentialsAccepted", "Reachable")


@pytest.mark.parametrize("path", ["a/manifests/latest?ns=registry.test", "registry.test/a/manifests/latest"])
async def test_nodes_that_pulled_are_reported(upstream: Registry, cache: Cache, path: str) -> None:
    """Runtimes name the registry by `ns`, or in the path. Other requests and refused ones are no pulls."""
    upstream.push("a")
    agent = {NODE_HEADER: "node-1"}

    async def clients() -> Json:
        found: Json = (await cache.status())["clients"]
        return found

    nothing = {"nodes": [], "unmatched": 0, "shared": 0}
    for other, status in (("a/manifests/latest", 200), (path.replace("latest", "no"), 404), ("x?ns=y", 404)):
        assert (await cache.ask(other)).status == status
    assert (await cache.ask("", headers=agent)).status == 200
    assert await clients() == nothing
    assert (await cache.ask(path, "HEAD")).status == 200
    assert len((await clients())["nodes"]) == 1
    assert (await cache.ask("", headers={NODE_HEADER: "node-2"})).status == 200
    assert await clients() == {**nothing, "shared": 1}


@pytest.mark.parametrize("counted", [True, False])
async def test_repositories_are_counted_on_demand(
    upstream: Registry, make_cache: Callable[..., Cache], *, counted: bool
) -> None:
    """Without `countRepositories` no metric has the name of a repository, and never one that is refused."""
    upstream.push("team/app", layers=(10,))
    cache = await make_cache(countRepositories=counted).start()
    await cache.pull("team/app")  # the tag, the manifest and two blobs
    assert (await cache.ask("no/such/manifests/latest")).status == 404
    counts = [await cache.metric("registrymirror_cache_repository_requests_total", name=name) for name in NAMES]
    assert counts == ([4, 0] if counted else [0, 0])
    metrics = (await cache.status_page("metrics"))[1].decode()
    assert [name in metrics for name in ("team/app", "no/such")] == [counted, False]


async def test_rate_limit_of_the_upstream_is_reported(upstream: Registry, cache: Cache) -> None:
    """Status and metrics follow the headers of answers. Without them there is no series."""
    assert (await _upstream(cache))["rateLimit"] == {"limit": None, "remaining": None}
    assert b"registrymirror_cache_rate_limit{" not in (await cache.status_page("metrics"))[1]
    for remaining in (76, 75, 0):
        upstream.does.remaining = remaining
        upstream.push("a")
        await cache.pull("a")
        assert (await _upstream(cache))["rateLimit"] == {"limit": 100, "remaining": remaining}
        limits = [await cache.metric(f"registrymirror_cache_rate_limit{name}") for name in ("", "_remaining")]
        assert limits == [100, remaining]


async def test_stored_bytes_follow(upstream: Registry, cache: Cache) -> None:
    """A stored blob counts at once."""
    upstream.push("a", layers=(3_000_000,))
    await cache.pull("a")
    assert 3_000_000 < await cache.metric("registrymirror_cache_stored_bytes") < 3_100_000
    space = (await cache.status())["space"]
    assert 3_000_000 < space["stored"] < 3_100_000
    volume = [await cache.metric(f"registrymirror_cache_{name}") for name in ("volume_bytes", "min_free_bytes")]
    assert volume == [space["total"], space["minFree"]]


async def test_content_of_a_replica_counts_as_peer(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """Each owner of a key misses, the other replica counts `peer`."""
    digest, blobs = upstream.push("a", layers=(100_000,) * 8)
    for path in (f"manifests/{digest}", *(f"blobs/{each}" for each in blobs)):
        await pair[0].ask(f"a/{path}")
    counts = {result: await pair[0].metric(REQUESTS, result=result) for result in ("miss", "peer", "hit")}
    misses_of_owner = await pair[1].metric(REQUESTS, result="miss")
    assert counts == {"miss": 10 - misses_of_owner, "peer": misses_of_owner, "hit": 0}
    assert 0 < misses_of_owner < 10


async def test_requests_of_replicas_count_apart(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """Bytes that a node received count once, and only nodes pull."""
    size = 8 * 100_000
    upstream.push("a", layers=(100_000,) * 8)
    await pair[0].pull("a")

    async def counts(name: str, **labels: str) -> list[float]:
        return [await each.metric(f"registrymirror_cache_{name}", **labels) for each in pair]

    to_nodes, to_replicas = (
        await counts("served_bytes_total", client="node"),
        await counts("served_bytes_total", client="replica"),
    )
    assert (size < to_nodes[0] < size + 10_000, to_nodes[1]) == (True, 0)
    assert (to_replicas[0], to_replicas[1] > 0) == (0, True)
    assert await counts("pulls_total", upstream="registry.test") == [1, 0]
    assert await counts("request_duration_seconds_count", kind="blobs") == [9, 0]
    assert await counts("upstream_reason", reason="Reachable") == [1, 1]
