"""Nothing that a client sends reaches a path, another host, or the end of the service."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ssl

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

SHA = "a" * 64
PATHS = [
    f"../../etc/passwd/blobs/sha256:{SHA}",
    f"a/../b/blobs/sha256:{SHA}",
    f"a%2f..%2fb/blobs/sha256:{SHA}",
    f"a%00b/blobs/sha256:{SHA}",
    "a/blobs/sha256:../../../../etc/passwd",
    "a/blobs/sha256:..%2f..%2fetc%2fpasswd",
    f"a/blobs/sha256:{SHA[:-1]}",
    f"a/blobs/md5:{SHA[:32]}",
    f"A/blobs/sha256:{SHA}",
    "a/manifests/..",
    "a/manifests/-tag",
    f"a/manifests/{'t' * 129}",
    f"{'n' * 256}/manifests/t",
    f"{'n' * 10_000}/manifests/t",
    f"_tags/blobs/sha256:{SHA}",
    "a/blobs/uploads/",
    "_catalog",
    "a/tags/other",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_bad_path_is_refused(upstream: Registry, cache: Cache, path: str) -> None:
    """It is an error of the client, and the upstream is not asked."""
    asked = upstream.count(part="/v2/a") + upstream.count(part="/blobs/")
    assert (await cache.ask(path)).status in (400, 404, 414)
    assert upstream.count(part="/v2/a") + upstream.count(part="/blobs/") == asked
    assert {each.name for each in cache.root.iterdir()} <= {"tmp"}


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
async def test_writes_are_refused(cache: Cache, method: str) -> None:
    """The cache is read-only."""
    answer = await cache.ask(f"a/blobs/sha256:{SHA}", method)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")


@pytest.mark.parametrize("host", ["", "other.test", "127.0.0.1", "169.254.169.254", "registry.test:443", "a&ns=b"])
async def test_other_hosts_are_unknown(upstream: Registry, cache: Cache, host: str) -> None:
    """`ns` names a host of the configuration, or gets 404."""
    upstream.push("a")
    assert (await cache.ask(f"a/manifests/latest?ns={host}")).status == 404
    assert (await cache.ask("a/manifests/latest?ns=registry.test")).status == 200


async def test_idle_connections_do_not_matter(upstream: Registry, cache: Cache, client_context: ssl.SSLContext) -> None:
    """A pull works beside 500 connections that send nothing, or half a request."""
    upstream.push("a")
    port = int(cache.config["listen"].rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for number in range(500):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            if number % 5 == 0:
                secure = stack.enter_context(client_context.wrap_socket(plain, server_hostname="localhost"))
                secure.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ")
        await cache.pull("a")
    assert await cache.is_ready()


async def test_large_headers_are_refused(cache: Cache) -> None:
    """A header of 64 KiB is an error of the client."""
    assert (await cache.ask("", headers={"X": "y" * 65536})).status == 400
