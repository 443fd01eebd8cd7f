"""The configuration, certificate and credentials are followed without a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

    from common.types import Json
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


async def test_removed_upstream_is_gone(upstream: Registry, cache: Cache) -> None:
    """A host that is no longer configured gets 404, and its files go."""
    upstream.push("a")
    await cache.pull("a")
    cache.config["upstreams"] = [{"host": "other.test", "url": "https://localhost:1", "credentials": None}]
    cache.write()

    async def gone() -> bool:
        return (await cache.ask("a/manifests/latest?ns=registry.test")).status == 404

    await cache.until(gone)

    async def removed() -> bool:
        return not list(cache.root.glob("*/blobs/sha256/*/*"))

    await cache.until(removed)


async def test_wrong_configuration_is_refused(upstream: Registry, cache: Cache) -> None:
    """The old one stays in force, and the log names all mistakes."""
    upstream.push("a")
    (cache.folder / "config.json").write_text(json.dumps({**cache.config, "ttl": "7d", "minFree": -1}))

    async def refused() -> bool:
        return "configuration refused" in cache.log()

    await cache.until(refused)
    assert "ttl: " in cache.log()
    assert "minFree: " in cache.log()
    await cache.pull("a")


async def test_renewed_certificate_is_used(upstream: Registry, cache: Cache, ca: trustme.CA, certificate: Json) -> None:
    """New connections get the new certificate; one that does not fit its key is refused."""
    upstream.push("a")
    certificate_file, key_file = Path(certificate["certificate"]), Path(certificate["key"])
    key_file.write_bytes(b"no key")  # noqa: ASYNC240 (a small local file)

    async def refused() -> bool:
        return "certificate refused" in cache.log()

    await cache.until(refused)
    await cache.pull("a")
    issued = ca.issue_cert("localhost", "renewed.test")
    key_file.write_bytes(issued.private_key_pem.bytes())  # noqa: ASYNC240 (the same)
    certificate_file.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))  # noqa: ASYNC240 (the same)

    async def renewed() -> bool:
        return "renewed.test" in await _names(cache)

    await cache.until(renewed)


async def _names(cache: Cache) -> str:
    _, writer = await asyncio.open_connection("localhost", cache.url.rpartition(":")[2], ssl=cache.context)
    names = str(writer.get_extra_info("peercert")["subjectAltName"])
    writer.close()
    return names
