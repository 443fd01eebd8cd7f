"""Clients receive bytes while a blob arrives, however long it takes.

This file is the first one, so that its longest test starts first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cache.images import digest_of
from tests.cache.program import STATE_SECONDS

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

SIZE = 2_000_000
FIRST_BYTE_SECONDS = 1.0
HELD_BACK = 512 * 1024  # bytes that are sent after the digest was verified


@pytest.mark.parametrize(
    "duration",
    [pytest.param(360, marks=[pytest.mark.slow, pytest.mark.timeout(600)]), 6],
)
async def test_dripping_blob_is_delivered(upstream: Registry, pair: tuple[Cache, Cache], duration: int) -> None:
    """All clients of two replicas receive it whole, with their first byte at once, and both replicas store it."""
    _, blobs = upstream.push("team/app", layers=(SIZE,))
    upstream.does.rate, upstream.does.piece = SIZE / duration, 1000
    path = f"team/app/blobs/{blobs[1]}"
    early = [asyncio.create_task(cache.ask(path)) for cache in pair * 5]

    async def half() -> bool:
        return upstream.sent > SIZE / 2

    await pair[0].until(half, duration + STATE_SECONDS)
    late = [asyncio.create_task(cache.ask(path)) for cache in pair * 5]
    answers = await asyncio.gather(*early, *late)
    assert {digest_of(each.body) for each in answers} == {blobs[1]}
    assert max(each.first_byte for each in answers) < FIRST_BYTE_SECONDS
    seconds = [each.seconds for each in answers[: len(early)]]
    assert min(seconds) > 0.9 * duration
    # The end of the blob is held back, so that a client is never sent a whole wrong one.
    assert max(each.silence for each in answers) < max(seconds) * HELD_BACK / SIZE + 2
    assert all(cache.has(blobs[1]) for cache in pair)
    assert upstream.sent == SIZE


async def test_range_is_sent_while_it_arrives(upstream: Registry, cache: Cache) -> None:
    """The first byte of a range is sent when it arrives, its last 512 KiB after the digest was verified."""
    _, blobs = upstream.push("team/app", layers=(3_000_000,))
    upstream.does.rate, upstream.does.piece = 500_000, 10_000
    answers = await asyncio.gather(
        *(
            cache.ask(f"team/app/blobs/{blobs[1]}", headers={"Range": f"bytes={first}-{first + 1_499_999}"})
            for first in (0, 1_500_000)
        )
    )
    assert [each.status for each in answers] == [206, 206]
    assert b"".join(each.body for each in answers) == upstream.blobs[blobs[1]]
    assert answers[0].first_byte < FIRST_BYTE_SECONDS
    assert 0.4 < answers[1].first_byte / answers[1].seconds < 0.75
    assert all(each.seconds > 5.5 for each in answers)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10_000, 3_000_000])
async def test_pauses_of_the_upstream_do_not_matter(
    upstream: Registry, cache: Cache, size: int, *, chunked: bool
) -> None:
    """An upstream that pauses between its pieces, also in small blobs, is waited for."""
    _, blobs = upstream.push("team/app", layers=(size,))
    upstream.does.rate, upstream.does.piece, upstream.does.chunked = size / 4, size // 2, chunked
    answer = await cache.ask(f"team/app/blobs/{blobs[1]}")
    assert digest_of(answer.body) == blobs[1]
    assert answer.seconds > 3
