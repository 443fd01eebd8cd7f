"""Provide an upstream over TLS and caches that serve it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.cache.program import Cache, a_config
from tests.cache.upstream import Registry, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from common.types import Json


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """Return the CA of the upstream and the caches."""
    return trustme.CA()


@pytest.fixture
def certificate(ca: trustme.CA, tmp_path: Path) -> Json:
    """Write a serving certificate and return the `tls` part of a configuration."""
    issued = ca.issue_cert("localhost", "127.0.0.1", "registry.test")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    (tmp_path / "tls.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    return {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}


@pytest.fixture
def client_context(ca: trustme.CA) -> ssl.SSLContext:
    """Return the context of a client that trusts the CA."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
def server_context(certificate: Json) -> ssl.SSLContext:
    """Return the context of a server with the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate["certificate"], certificate["key"])
    return context


@pytest.fixture
async def upstream(server_context: ssl.SSLContext) -> AsyncIterator[Registry]:
    """Serve a registry at two addresses: the second one stands for object storage."""
    registry = Registry()
    async with listening(registry.handle, server_context) as port, listening(registry.handle, server_context) as other:
        registry.url, registry.other_url = f"https://localhost:{port}", f"https://localhost:{other}"
        yield registry


@pytest.fixture
async def make_cache(
    upstream: Registry, certificate: Json, client_context: ssl.SSLContext, tmp_path: Path
) -> AsyncIterator[Callable[..., Cache]]:
    """Make caches of the upstream; they end with the test."""
    async with AsyncExitStack() as stack:

        def make(name: str = "cache-0", **changes: Any) -> Cache:
            folder = tmp_path / name
            folder.mkdir()
            cache = Cache(folder, a_config(folder, upstream.url, certificate, **changes), client_context, name)
            stack.push_async_callback(cache.close)
            return cache

        yield make


@pytest.fixture
async def cache(make_cache: Callable[..., Cache]) -> Cache:
    """Return a running cache."""
    return await make_cache().start()


@pytest.fixture
async def make_replicas(make_cache: Callable[..., Cache], tmp_path: Path) -> Callable[[int], Awaitable[list[Cache]]]:
    """Start replicas of one cache."""

    async def make(count: int) -> list[Cache]:
        caches = [make_cache(f"cache-{number}") for number in range(count)]
        members = {each.name: each.url for each in caches}
        for each in caches:
            each.config["peers"] = {"self": each.name, "members": members, "ca": str(tmp_path / "ca.crt")}
        await asyncio.gather(*(each.start() for each in caches))
        return caches

    return make


@pytest.fixture
async def pair(make_replicas: Callable[[int], Awaitable[list[Cache]]]) -> tuple[Cache, Cache]:
    """Return two running replicas of one cache."""
    first, second = await make_replicas(2)
    return first, second
