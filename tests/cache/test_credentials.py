"""Credentials may be changed at any moment, have any bytes, and are shown nowhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.program import credential_files, credentials
from tests.cache.upstream import Registry, basic, listening
from tests.support.secret_mount import SecretMount

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from tests.cache.program import Cache

PASSWORDS = [
    bytes(range(1, 256)),
    b"\x00",
    b":",
    b" ",
    b"\n",
    b"line\n",
    "pässwörd".encode(),
    b"abc: def",
    b"#hash",
    b"~",
    b"null",
    b"0123",
    b"$(x) ${y} %s {z}",
    b'"\\',
    b"p" * 4000,
]
ROTATIONS = 8
FOLLOW_SECONDS = 5.0


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_any_bytes_are_a_password(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path, auth: str
) -> None:
    """Each is sent as it is, and a change is followed without a restart."""
    folder = tmp_path / "account"
    cache = await make_cache(credentials=credentials(folder, password=b"wrong")).start()
    for number, password in enumerate(PASSWORDS if auth == "basic" else PASSWORDS[:3]):  # the header is the same
        upstream.push(f"a{number}")
        upstream.does = Behaviour(auth=auth, accounts=(b"robot:" + password,))
        upstream.tokens.clear()
        assert (await cache.ask(f"a{number}/manifests/latest")).status == 401
        credentials(folder, password=password)
        await _accepted(cache, f"a{number}/manifests/latest")
        await cache.pull(f"a{number}")


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_change_fails_no_pull(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path, auth: str
) -> None:
    """Names and passwords change while clients pull. The upstream takes the old pair until it has seen the new one."""
    mount = SecretMount(tmp_path / "account", ("username", "password"))
    mount.replace({"username": b"robot0", "password": b"secret0"})
    upstream.does = Behaviour(auth=auth, accounts=(b"robot0:secret0",), token_lifetime=1)
    cache = await make_cache(credentials=credential_files(tmp_path / "account")).start()
    ended = asyncio.Event()

    pulled = [0, 0, 0]

    async def pull_images(client: int) -> None:
        while not ended.is_set():
            name = f"team{client}/a{pulled[client]}"
            upstream.push(name, layers=(300_000, 20))
            await cache.pull(name)
            pulled[client] += 1

    async def all_pull_again() -> None:
        """Wait until each client has pulled an image from its beginning."""
        before = list(pulled)

        async def have_pulled() -> bool:
            assert not any(each.done() for each in clients)
            return all(now > then + 1 for now, then in zip(pulled, before, strict=True))

        await cache.until(have_pulled, 30)

    clients = [asyncio.create_task(pull_images(client)) for client in range(len(pulled))]
    await all_pull_again()
    for number in range(1, ROTATIONS):
        old, new = (f"robot{each}:secret{each}".encode() for each in (number - 1, number))
        upstream.does.accounts = (old, new)
        began = time.monotonic()
        mount.replace(dict(zip(("username", "password"), new.split(b":"), strict=True)))

        async def followed(header: str = basic(new)) -> bool:
            return header in upstream.logins

        await cache.until(followed)
        assert time.monotonic() - began < FOLLOW_SECONDS
        await all_pull_again()
        upstream.does.accounts = (new,)
        upstream.tokens.clear()
    await all_pull_again()
    ended.set()
    await asyncio.gather(*clients)
    assert set(upstream.logins) - {""} == {basic(f"robot{each}:secret{each}".encode()) for each in range(ROTATIONS)}


async def _accepted(cache: Cache, path: str) -> None:
    """Wait until the upstream accepts the credentials that the cache uses."""

    async def accepted() -> bool:
        return (await cache.ask(path)).status == 200

    await cache.until(accepted, FOLLOW_SECONDS)


async def test_no_other_upstream_gets_credentials(
    upstream: Registry, make_cache: Callable[..., Cache], server_context: ssl.SSLContext, tmp_path: Path
) -> None:
    """One edit changes URL and account while clients pull. Each registry sees its own account only."""
    other = Registry()
    async with listening(other.handle, server_context) as port:
        other.url = f"https://localhost:{port}"
        registries = [upstream, other]
        mount = SecretMount(tmp_path / "secret", ("config.json", "username", "password"))
        cache = make_cache(credentials=credential_files(tmp_path / "secret"))

        def follow(number: int) -> None:
            cache.config["upstreams"][0]["url"] = registries[number].url
            config = json.dumps(cache.config).encode()
            mount.replace({"config.json": config, "username": b"robot", "password": b"secret%d" % number})

        follow(0)
        await cache.start()
        (tmp_path / "link").symlink_to(tmp_path / "secret" / "config.json")
        (tmp_path / "link").replace(cache.folder / "config.json")
        for number, registry in enumerate(registries):
            registry.push("a")
            registry.does = Behaviour(auth="basic", accounts=(b"robot:secret%d" % number,))
        for number in (0, 1, 0, 1):
            follow(number)

            async def used(registry: Registry = registries[number]) -> bool:
                registry.requests.clear()
                return (await cache.ask("a/manifests/latest")).status == 200 and bool(registry.requests)

            await cache.until(used, FOLLOW_SECONDS)
    for number, registry in enumerate(registries):
        assert set(registry.logins) - {""} == {basic(b"robot:secret%d" % number)}


async def test_secrets_are_shown_nowhere(upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path) -> None:
    """No log, page, error or file has an account or a token, whatever goes wrong."""
    account = b"robot-name:secret-word"
    folder = tmp_path / "account"
    cache = make_cache(credentials=credentials(folder, *account.split(b":")))
    cache.environment["LOG_LEVEL"] = "DEBUG"
    await cache.start()
    seen = b""
    behaviours = (
        Behaviour(auth="bearer"),
        Behaviour(auth="basic"),
        Behaviour(auth="basic", accounts=()),
        Behaviour(auth="bearer", accounts=()),
        Behaviour(auth="bearer", challenges=('Bearer realm="https://localhost:1/token"',)),
        Behaviour(auth="bearer", challenges=('Bearer realm="no URL"',)),
        Behaviour(auth="bearer", status={"token": 500}),
        Behaviour(auth="bearer", redirect="loop"),
        Behaviour(auth="bearer", wrong_length=1),
        Behaviour(auth="bearer", html=True),
    )
    for number, does in enumerate(behaviours):
        name = f"a{number}"  # no token of another image counts
        _, blobs = upstream.push(name, layers=(1_000_000,))
        upstream.does = dataclasses.replace(does, accounts=does.accounts and (account,))
        for path in (f"{name}/manifests/latest", f"{name}/blobs/{blobs[1]}", f"{name}/tags/list"):
            with contextlib.suppress(aiohttp.ClientError):
                seen += (await cache.ask(path)).body
        for each in cache.files("blobs/*/*/*"):
            each.unlink()
    for page in ("status", "metrics"):
        seen += (await cache.status_page(page))[1]
    await cache.stop()
    seen += (cache.folder / "log").read_bytes()
    seen += b"".join(path.read_bytes() for path in cache.files("*/*/*/*") + cache.files("tags/*/*/*"))
    secrets = [b"robot-name", b"secret-word", base64.b64encode(account), *map(str.encode, upstream.tokens)]
    assert len(secrets) > 5
    assert [each for each in secrets if each in seen] == []
