"""The controller reads the status of a running cache."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from common.cache_protocol import CredentialsResult, UpstreamReason
from controller.caches.cache_status import parse_status, verdict_of
from tests.cache.behaviour import Behaviour

if TYPE_CHECKING:
    from controller.model.observation import Verdict
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


async def verdict(cache: Cache, url: str) -> Verdict:
    """Return what the controller concludes from the cache's status."""
    return verdict_of(url, {cache.name: parse_status(await cache.status(), datetime.now(UTC))})


async def test_controller_reads_reachability(upstream: Registry, cache: Cache) -> None:
    upstream.push("team/app")
    await cache.pull("team/app")
    found = await verdict(cache, upstream.url)
    assert (found.cause.name, found.login) == (UpstreamReason.REACHABLE, CredentialsResult.NOT_CHECKED)
    assert (await verdict(cache, "https://another.example.com")).is_switching


async def test_controller_names_the_end_of_a_limit(upstream: Registry, cache: Cache) -> None:
    """The time is the same in answers to several requests."""
    upstream.push("team/app")
    upstream.does = Behaviour(status={"": 429}, retry_after="1800")
    began = datetime.now(UTC)
    assert (await cache.ask("team/app/manifests/latest")).status == 429
    found = [await verdict(cache, upstream.url) for _ in range(20)]
    ends = [end + timedelta(minutes=1, seconds=1800) for end in (began, datetime.now(UTC))]
    assert {each.cause.name for each in found} == {UpstreamReason.RATE_LIMITED}
    times = {each.message.partition("asks again at ")[2][:5] for each in found}
    assert times <= {f"{end:%H:%M}" for end in ends}
    assert len(times) == 1
