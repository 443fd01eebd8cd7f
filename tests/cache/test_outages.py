"""Serve stored content while the upstream is away, and refuse the rest with its own status."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from cache.upstream.health import FIRST_PAUSE
from tests.cache.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

OUTAGES = {
    "limited": Behaviour(status={"": 429}, retry_after="120"),
    "broken": Behaviour(status={"": 503}),
    "hanging": Behaviour(hang=True),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
async def test_stored_image_is_served(upstream: Registry, cache: Cache, outage: Behaviour) -> None:
    """A stored tag, or the referrers of an image, are answered within a second."""
    digest, _ = upstream.push("team/app", layers=(100_000,))
    upstream.referrers[digest] = {"manifests": []}
    await cache.pull("team/app")
    await cache.ask(f"team/app/referrers/{digest}")
    upstream.does = outage
    for path in ("manifests/latest", f"manifests/{digest}", f"referrers/{digest}"):
        answer = await cache.ask(f"team/app/{path}")
        assert (answer.status, answer.seconds < 1) == (200, True)
    await cache.pull("team/app")


@pytest.mark.parametrize("is_date", [False, True])
async def test_rate_limit_is_passed_on(upstream: Registry, cache: Cache, *, is_date: bool) -> None:
    """429 keeps its Retry-After, and the upstream is not asked again meanwhile."""
    digest, blobs = upstream.push("team/app")
    retry_after = formatdate(time.time() + 120, usegmt=True) if is_date else "120"
    upstream.does = Behaviour(status={"": 429}, retry_after=retry_after)
    for path in ("manifests/latest", f"manifests/{digest}", f"blobs/{blobs[1]}"):
        answer = await cache.ask(f"team/app/{path}")
        assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
        assert 110 <= int(answer.headers["Retry-After"]) <= 120
    asked = len(upstream.requests)
    await asyncio.gather(*(cache.ask("team/app/manifests/latest") for _ in range(10)))
    assert len(upstream.requests) == asked
    state = (await cache.status())["upstreams"][0]
    assert (state["reason"], 100 < state["retryAfterSeconds"] <= 120) == ("RateLimited", True)


async def test_limit_of_manifests_leaves_blobs_alone(upstream: Registry, cache: Cache) -> None:
    """Docker Hub limits manifests only."""
    _, blobs = upstream.push("team/app")
    upstream.does = Behaviour(status={"manifests": 429}, retry_after="60")
    answer = await cache.ask("team/app/manifests/latest")
    assert (answer.status, 50 <= int(answer.headers["Retry-After"]) <= 60) == (429, True)
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == 200
    assert (await cache.status())["upstreams"][0]["reason"] == "RateLimited"


async def test_limit_of_tokens_is_passed_on(upstream: Registry, cache: Cache) -> None:
    """A token service may be limited, too. What is stored is served meanwhile."""
    upstream.push("team/app")
    upstream.push("team/stored")
    await cache.pull("team/stored")
    upstream.does = Behaviour(auth="bearer", status={"token": 429}, retry_after="30")
    answer = await cache.ask("team/app/manifests/latest")
    assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
    assert 20 <= int(answer.headers["Retry-After"]) <= 30
    assert (await cache.status())["upstreams"][0]["reason"] == "RateLimited"
    await cache.pull("team/stored")


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refusal_is_not_covered_up(upstream: Registry, cache: Cache, status: int) -> None:
    """A tag that the upstream withdrew is not served from the store."""
    upstream.push("team/app")
    await cache.pull("team/app")
    upstream.does.status[""] = status
    assert (await cache.ask("team/app/manifests/latest")).status == status


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_status_of_the_upstream_is_passed_on(upstream: Registry, cache: Cache, status: int) -> None:
    """Content that is not stored gets the status of the upstream."""
    _, blobs = upstream.push("team/app")
    upstream.does.status[""] = status
    assert (await cache.ask("team/app/manifests/latest")).status == status
    upstream.does.status = {"blobs": status}
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == status


async def test_failing_image_pauses_no_other(upstream: Registry, cache: Cache) -> None:
    """An upstream may answer 500 for one image only. That one is not asked for again at once."""
    for name in ("good", "bad"):
        upstream.push(name)
    upstream.does.refused, began = {"bad": 500}, time.monotonic()
    for _ in range(3):
        assert (await cache.ask("bad/manifests/latest")).status == 500
    await cache.pull("good")
    assert upstream.count(part="/bad/") <= 1 + (time.monotonic() - began) / FIRST_PAUSE


@pytest.mark.parametrize(
    "does",
    [Behaviour(redirect="loop"), Behaviour(redirect="downgrade"), Behaviour(gzip_blobs=True)],
    ids=["loop", "downgrade", "compressed"],
)
async def test_unusable_blob_pauses_no_other(upstream: Registry, cache: Cache, does: Behaviour) -> None:
    """A wrong redirect, or a compressed blob, may be that of one repository."""
    _, blobs = upstream.push("bad")
    upstream.push("good")
    upstream.does = does
    assert (await cache.ask(f"bad/blobs/{blobs[1]}")).status == 502
    upstream.does = Behaviour()
    await cache.pull("good")


async def test_unknown_ca_is_reported(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """An upstream whose CA is not in the bundle is not asked for content."""
    upstream.push("team/app")
    cache = await make_cache(caBundle=None).start()
    assert (await cache.ask("team/app/manifests/latest")).status == 502
    assert (await cache.status())["upstreams"][0]["reason"] == "UntrustedCertificate"


async def test_dead_upstream_does_not_matter_to_readiness(make_cache: Callable[..., Cache]) -> None:
    """The cache starts, and is ready, without its upstream."""
    dead = [{"host": "registry.test", "url": "https://localhost:1", "credentials": None}]
    cache = await make_cache(upstreams=dead).start()
    assert (await cache.ask("a/manifests/1")).status == 502
    assert (await cache.status())["upstreams"][0]["reason"] == "ConnectionRefused"
