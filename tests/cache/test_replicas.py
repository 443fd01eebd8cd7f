"""Replicas share their content, and none of them can stop a pull."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.images import digest_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    import trustme

    from common.types import Json
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

MANY = (200_000,) * 8  # each replica owns some of them


@pytest.fixture
def shared_certificate(ca: trustme.CA, certificate: Json, client_context: ssl.SSLContext, tmp_path: Path) -> Json:
    """Write the certificate that all replicas of a mirror have: it names the mirror only."""
    issued = ca.issue_cert("mirror.example.com")
    issued.private_key_pem.write_to_path(tmp_path / "mirror.key")
    (tmp_path / "mirror.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    client_context.check_hostname = False
    return {**certificate, "certificate": str(tmp_path / "mirror.crt"), "key": str(tmp_path / "mirror.key")}


def _addresses(caches: tuple[Cache, Cache]) -> Json:
    return {each.name: f"https://127.0.0.1:{each.url.rpartition(':')[2]}" for each in caches}


@pytest.mark.parametrize(("server_name", "fetches"), [("mirror.example.com", 1), (None, 2), ("other.example.com", 2)])
async def test_certificate_names_the_mirror(
    upstream: Registry,
    make_cache: Callable[..., Cache],
    shared_certificate: Json,
    tmp_path: Path,
    server_name: str | None,
    fetches: int,
) -> None:
    """Replicas share if the certificate is verified for the name of the mirror. Pings use that name, too."""
    _, blobs = upstream.push("a", layers=MANY)
    caches = make_cache("cache-0"), make_cache("cache-1")
    for each in caches:
        each.config["tls"] = shared_certificate
        each.config["peers"] = {
            "self": each.name,
            "members": _addresses(caches),
            "ca": str(tmp_path / "ca.crt"),
            "serverName": server_name,
        }
        await each.start()
    upstream.does.latency = 1.5  # longer than a replica waits without a ping
    await asyncio.gather(*(each.ask(f"a/blobs/{blob}") for each in caches for blob in blobs))
    assert upstream.sent == fetches * sum(len(upstream.blobs[blob]) for blob in blobs)


@pytest.mark.parametrize("is_member", [True, False])
async def test_replica_named_after_its_host(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path, *, is_member: bool
) -> None:
    """Without `self` a replica owns its share if its host is a member, and nothing otherwise."""
    _, blobs = upstream.push("a", layers=MANY)
    caches = make_cache(socket.gethostname() if is_member else "cache-0"), make_cache("cache-1")
    members = _addresses(caches) if is_member else {"cache-1": _addresses(caches)["cache-1"]}
    peers = {"members": members, "ca": str(tmp_path / "ca.crt")}
    caches[0].config["peers"], caches[1].config["peers"] = peers, {**peers, "self": "cache-1"}
    for each in caches:
        await each.start()
    await caches[0].pull("a")
    received = "registrymirror_cache_received_bytes_total"
    total = sum(len(upstream.blobs[blob]) for blob in blobs)
    from_peer = await caches[0].metric(received, source="peer")
    assert upstream.sent == total
    assert 0 < from_peer < total if is_member else from_peer == total


@pytest.mark.parametrize("damage", ["changed", "truncated"])
async def test_replica_with_wrong_content_is_paused(upstream: Registry, pair: tuple[Cache, Cache], damage: str) -> None:
    """Its content is replaced by that of the upstream, and it is asked no more for some seconds."""
    _, blobs = upstream.push("a", layers=MANY)
    await pair[1].pull("a")
    for path in pair[1].root.glob("*/blobs/sha256/*/*"):
        path.write_bytes(b"x" * (path.stat().st_size if damage == "changed" else 1000))
    await pair[1].stop()
    await pair[1].start()  # it forgets the sizes
    for blob in blobs:
        assert digest_of((await pair[0].ask(f"a/blobs/{blob}")).body) == blob
    assert await pair[1].metric("registrymirror_cache_requests_total", kind="blobs") == 1


async def test_bad_blob_pauses_no_replica(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """The upstream sends wrong blobs, so that their owner cuts its responses. All other blobs come from it at once."""
    _, good = upstream.push("a", layers=MANY)
    _, bad = upstream.push("b", layers=(2_000_000,) * 8)
    await pair[1].pull("a")
    upstream.does.wrong_length = 1
    for blob in bad:
        with contextlib.suppress(aiohttp.ClientError):
            assert (await pair[0].ask(f"b/blobs/{blob}")).status == 502
    upstream.does.status[""] = 503
    answers = [await pair[0].ask(f"a/blobs/{blob}") for blob in good]
    assert [digest_of(each.body) for each in answers] == good


async def test_replicas_do_not_wait_for_each_other(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """Many downloads from each other need no slots: all blobs arrive, once from the upstream."""
    images = [upstream.push(f"a{number}", layers=(2000,) * 100)[1] for number in range(2)]
    upstream.does.latency = 0.3
    asked = [cache.ask(f"a/blobs/{blob}") for cache, blobs in zip(pair, images, strict=True) for blob in blobs]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*asked)
    assert [digest_of(each.body) for each in answers] == [blob for blobs in images for blob in blobs]
    assert upstream.count("GET", "/blobs/") == 202


async def test_replica_that_is_busy_is_waited_for(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """A blob waits for its turn at its owner for longer than an upstream may be silent."""
    _, blobs = upstream.push("a", layers=(600_000,) * 79)
    upstream.does.rate = 1_500_000
    await asyncio.gather(*(pair[0].ask(f"a/blobs/{blob}") for blob in blobs))
    assert upstream.count("GET", "/blobs/") == len(blobs) == 80
