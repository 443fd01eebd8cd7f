"""An upstream that hangs costs stored content less than a second, and other content a known time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.images import digest_of
from tests.cache.relay import Mode, Relay, relaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 20.0


@pytest.fixture
async def relay(upstream: Registry) -> AsyncIterator[Relay]:
    """Put a relay in front of the upstream."""
    async with relaying(int(upstream.url.rpartition(":")[2])) as (relay, port):
        upstream.url = f"https://localhost:{port}"
        yield relay


@pytest.fixture
async def relayed(relay: Relay, make_cache: Callable[..., Cache]) -> Cache:  # noqa: ARG001 (it changes the URL)
    """Return a running cache that asks the relay."""
    return await make_cache().start()


@pytest.mark.parametrize(
    ("mode", "reason"), [(Mode.SILENT, "TimedOut"), (Mode.PARTIAL, "TimedOut"), (Mode.CLOSE, "ConnectionFailed")]
)
async def test_handshake_that_never_ends(
    upstream: Registry, relay: Relay, relayed: Cache, mode: Mode, reason: str
) -> None:
    """Stored tags are served at once. Others are refused, and pulled again as soon as the upstream answers."""
    upstream.push("stored", layers=(100_000,))
    upstream.push("other")
    await relayed.pull("stored")
    relay.change(mode)
    for _ in range(2):
        assert (await relayed.ask("stored/manifests/latest")).seconds < 1
    await relayed.pull("stored")
    answers = await asyncio.gather(*(relayed.ask("other/manifests/latest") for _ in range(5)))
    assert {each.status for each in answers} <= {502, 504}
    assert max(each.seconds for each in answers) < CONNECT_SECONDS + 2
    assert (await relayed.status())["upstreams"][0]["reason"] == reason
    relay.change(Mode.FORWARD)

    async def recovered() -> bool:
        return (await relayed.ask("other/manifests/latest")).status == 200

    await relayed.until(recovered, 35)


@pytest.mark.slow
async def test_silent_upstream_is_given_up(upstream: Registry, cache: Cache) -> None:
    """An upstream that accepts a request and hangs is waited for once. Then it is left alone for some seconds."""
    upstream.push("a")
    upstream.does.hang = True
    answers = await asyncio.gather(*(cache.ask("a/manifests/latest") for _ in range(5)))
    assert {each.status for each in answers} == {504}
    assert max(each.seconds for each in answers) < SILENCE_SECONDS + 2
    assert (await cache.ask("a/manifests/latest")).seconds < 0.5
    assert (await cache.status())["upstreams"][0]["reason"] == "TimedOut"


@pytest.mark.slow
@pytest.mark.parametrize("has_ranges", [True, False])
async def test_stalled_transfer_continues(upstream: Registry, cache: Cache, *, has_ranges: bool) -> None:
    """A body that stops in the middle is asked for again."""
    _, blobs = upstream.push("a", layers=(1_500_000,))
    upstream.does = Behaviour(stall_at=700_000, has_ranges=has_ranges)
    answer = await cache.ask(f"a/blobs/{blobs[1]}")
    assert digest_of(answer.body) == blobs[1]
    assert answer.silence < SILENCE_SECONDS + 3


@pytest.mark.parametrize("delay", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
async def test_rest_after_malformed_chunk_is_asked_for(upstream: Registry, cache: Cache, delay: float) -> None:
    """The HTTP client reports no error if it waits at that moment, so the cache notices the silence."""
    _, blobs = upstream.push("a", layers=(1_500_000,))
    upstream.does = Behaviour(chunked=True, garbage_at=700_000, garbage_delay=delay)
    answer = await cache.ask(f"a/blobs/{blobs[1]}")
    assert digest_of(answer.body) == blobs[1]
    assert answer.silence < SILENCE_SECONDS + 3
