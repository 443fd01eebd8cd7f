"""The cache logs in to each kind of registry, and gets as few tokens as possible."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.program import credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

TOKEN = 'Bearer realm="{realm}",service="test"'
DIALECTS = {
    "scope in the challenge": Behaviour(auth="bearer", challenges=(f'{TOKEN},scope="{{scope}}"',)),
    "realm with a query": Behaviour(auth="bearer", realm_query=True),
    "realm at another host": Behaviour(auth="bearer", foreign_realm=True),
    "several challenges in one header": Behaviour(auth="bearer", challenges=(f'Basic realm="x", {TOKEN}',)),
    "several headers": Behaviour(auth="bearer", challenges=("Negotiate", 'Basic realm="x"', TOKEN)),
    "unknown schemes": Behaviour(auth="bearer", challenges=(f'Negotiate, NTLM, Digest realm="a, b", {TOKEN}',)),
    "lower case": Behaviour(auth="bearer", challenges=('bearer REALM="{realm}" , Service=test',)),
    "error in the challenge": Behaviour(auth="bearer", challenges=(f'{TOKEN},error="invalid_token"',)),
    "access_token": Behaviour(auth="bearer", token_key="access_token"),
    "no lifetime": Behaviour(auth="bearer", names_lifetime=False),
    "basic": Behaviour(auth="basic"),
    "basic and an unknown scheme": Behaviour(auth="basic", challenges=('Negotiate, basic realm="x", charset="UTF-8"',)),
    "redirect behind basic": Behaviour(auth="basic", redirect="other host"),
    "redirect behind a token": Behaviour(auth="bearer", redirect="other host"),
}


@pytest.mark.parametrize("does", DIALECTS.values(), ids=DIALECTS.keys())
async def test_login(upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path, does: Behaviour) -> None:
    """A pull works with the credentials of the mirror."""
    upstream.push("team/app", layers=(1000, 2000))
    upstream.does = does
    account = credentials(tmp_path / "account")
    await (await make_cache(credentials=account).start()).pull("team/app")


async def test_one_token_for_many_clients(upstream: Registry, cache: Cache) -> None:
    """A scope costs one token until it expires."""
    upstream.push("team/app", layers=(1000, 2000, 3000))
    upstream.does.auth = "bearer"
    await asyncio.gather(*(cache.pull("team/app") for _ in range(20)))
    assert upstream.token_requests == 1


async def test_one_token_per_scope(upstream: Registry, cache: Cache) -> None:
    """A token of one repository is not sent for another."""
    upstream.does.auth = "bearer"
    for name in ("team/a", "team/b", "c"):
        upstream.push(name)
        await cache.pull(name)
        await cache.pull(name)
    assert upstream.token_requests == 3


async def test_refused_credentials_are_sent_once(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path
) -> None:
    """Some token services lock an account after a few failed logins. New credentials are tried at once."""
    upstream.push("team/app")
    upstream.does.auth = "bearer"
    account = credentials(tmp_path / "account", password=b"old")
    cache = await make_cache(credentials=account).start()
    for _ in range(5):
        assert (await cache.ask("team/app/manifests/latest")).status == 401
    assert upstream.token_requests == 1
    credentials(tmp_path / "account")

    async def accepted() -> bool:
        return (await cache.ask("team/app/manifests/latest")).status == 200

    await cache.until(accepted, 5)
    await cache.pull("team/app")


async def test_old_password_in_flight_refuses_no_client(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path
) -> None:
    """A token request with the old password lasts longer than its change. Other clients use the new password."""
    upstream.push("team/app")
    upstream.does = Behaviour(auth="bearer", accounts=(b"robot:old",))
    cache = await make_cache(credentials=credentials(tmp_path / "account", password=b"old")).start()
    await cache.pull_digest("team/app", upstream.tags["team/app", "latest"])

    async def login_is(state: str) -> bool:
        return bool((await cache.status())["upstreams"][0]["credentials"] == state)

    await cache.until(lambda: login_is("CredentialsAccepted"))
    upstream.does = Behaviour(auth="bearer", latency=4)
    old = asyncio.create_task(cache.ask("other/tags/list"))
    credentials(tmp_path / "account")
    await cache.until(lambda: login_is(""))
    new = asyncio.create_task(cache.ask(f"other/blobs/{upstream.add_blob(b'x')}"))
    assert ((await old).status, (await new).status) == (401, 200)
    upstream.does.latency = 0
    assert (await cache.ask(f"other/blobs/{upstream.add_blob(b'y')}")).status == 200


async def test_refused_login_costs_no_memory(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path
) -> None:
    """Clients may ask thousands of times while a refusal is remembered."""
    upstream.does = Behaviour(auth="bearer", accounts=())
    cache = await make_cache(credentials=credentials(tmp_path / "account")).start()

    async def ask(count: int) -> None:
        for _ in range(count):
            assert (await cache.ask("team/app/tags/list")).status == 401

    await ask(200)
    before = cache.memory()
    await ask(2000)
    assert cache.memory() - before < 3_000_000
    assert upstream.token_requests == 1


async def test_refused_token_is_renewed(upstream: Registry, cache: Cache) -> None:
    """An upstream that forgets its tokens early costs one more."""
    _, blobs = upstream.push("team/app", layers=(1000, 2000))
    upstream.does = Behaviour(auth="bearer", token_lifetime=3600)
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == 200
    upstream.tokens.clear()
    assert (await cache.ask(f"team/app/blobs/{blobs[2]}")).status == 200
    assert upstream.token_requests == 2


@pytest.mark.parametrize(
    ("lifetime", "duration"),
    [pytest.param(60, 180, marks=[pytest.mark.slow, pytest.mark.timeout(400)]), (2, 6)],
)
async def test_pull_outlives_its_tokens(upstream: Registry, cache: Cache, lifetime: int, duration: int) -> None:
    """A pull takes three times as long as a token lasts. A transfer that is cut goes on with a new token."""
    size = 300_000
    _, blobs = upstream.push("team/app", layers=(size,) * 6)
    rate = 6 * size / duration
    upstream.does = Behaviour(auth="bearer", token_lifetime=lifetime, rate=rate, piece=10_000, cut_at=size // 2)
    answers = await cache.pull("team/app")
    assert len(answers) == len(blobs)
    assert sum(each.seconds for each in answers) > 0.9 * duration
    assert 3 <= upstream.token_requests <= 7
    assert upstream.count("GET", "/blobs/") == len(blobs) + 1
