"""Registries redirect blobs to object storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.images import digest_of

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("redirect", ["other host", "relative"])
async def test_signed_redirect_is_followed(upstream: Registry, cache: Cache, redirect: str, status: int) -> None:
    """The signature is kept as it is, and no Authorization header goes with it to another host."""
    _, blobs = upstream.push("team/app", layers=(700_000,))
    upstream.does = Behaviour(redirect=redirect, redirect_status=status)
    if redirect == "other host":
        upstream.does.auth = "bearer"  # the storage refuses the token
    await cache.pull("team/app")
    assert all(cache.has(each) for each in blobs)


async def test_expired_signature_is_renewed(upstream: Registry, cache: Cache) -> None:
    """A signature that is valid once does not hinder the rest of a broken transfer."""
    _, blobs = upstream.push("team/app", layers=(1_500_000,))
    upstream.does = Behaviour(redirect="once", cut_at=800_000, rate=3_000_000)
    assert digest_of((await cache.ask(f"team/app/blobs/{blobs[1]}")).body) == blobs[1]
    assert upstream.count("GET", "/blobs/") == upstream.count("GET", "/signed/") == 2


@pytest.mark.parametrize(("redirect", "status"), [("loop", 502), ("downgrade", 502), ("expired", 403)])
async def test_bad_redirect_is_an_error(upstream: Registry, cache: Cache, redirect: str, status: int) -> None:
    """A redirect that leads nowhere is an error of the upstream, and ends after some steps."""
    _, blobs = upstream.push("team/app")
    upstream.does.redirect = redirect
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == status
    assert len(upstream.requests) < 10
    assert not cache.has(blobs[1])
