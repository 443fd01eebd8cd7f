"""The configuration, certificate and CAs are followed without a restart, and proxies are used."""

from __future__ import annotations

import asyncio
import json
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cache.images import digest_of
from tests.cache.relay import proxying

if TYPE_CHECKING:
    from collections.abc import Callable

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


async def test_each_spelling_of_the_host_is_served(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """K2: runtimes send the host of the image name, also with the default port."""
    upstreams = [
        {"host": "registry.test", "url": upstream.url, "credentials": None},
        {"host": "docker.io", "url": upstream.url, "credentials": None},
    ]
    upstream.push("a")
    cache = await make_cache(upstreams=upstreams).start()
    port = 80 if upstream.url.startswith("http:") else 443
    served = [f"registry.test:{port}", "index.docker.io", "registry-1.docker.io", f"registry-1.docker.io:{port}"]
    for host, status in [*((each, 200) for each in served), ("registry.test:5000", 404), (f"docker.io:{port}", 404)]:
        assert (await cache.ask(f"a/manifests/latest?ns={host}")).status == status, host


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


async def test_changes_cut_no_response(upstream: Registry, cache: Cache, ca: trustme.CA, certificate: Json) -> None:
    """A blob arrives while certificate, CA bundle and configuration change."""
    _, blobs = upstream.push("a", layers=(2_000_000,))
    upstream.does.rate = 250_000
    receiving = asyncio.create_task(cache.ask(f"a/blobs/{blobs[1]}"))
    issued = ca.issue_cert("localhost", "renewed.test")
    issued.private_key_pem.write_to_path(certificate["key"])
    issued.cert_chain_pems[0].write_to_path(certificate["certificate"])
    ca.cert_pem.write_to_path(cache.config["caBundle"], append=True)
    cache.config["upstreams"].append({"host": "other.test", "url": upstream.other_url, "credentials": None})
    cache.config["ttl"] = "1h"
    cache.write()

    async def changed() -> bool:
        has_other = (await cache.ask("a/manifests/latest?ns=other.test", "HEAD")).status == 200
        return has_other and "renewed.test" in await _names(cache)

    await cache.until(changed)
    assert not receiving.done()
    assert digest_of((await receiving).body) == blobs[1]
    assert upstream.offsets == [0]


@pytest.mark.parametrize(("version", "accepted"), [("TLSv1_3", True), ("TLSv1_2", True), ("TLSv1_1", False)])
async def test_tls_versions(cache: Cache, *, version: str, accepted: bool) -> None:
    """TLS 1.2 is the oldest one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    try:
        _, writer = await asyncio.open_connection("localhost", cache.port, ssl=context)
    except OSError:
        assert not accepted
    else:
        assert accepted
        writer.close()


@pytest.mark.parametrize("no_proxy", ["", "other.test", "*"])
async def test_proxy_is_used(upstream: Registry, make_cache: Callable[..., Cache], no_proxy: str) -> None:
    """Upstream and token service are asked through the proxy, which resolves the name. NO_PROXY is respected."""
    upstream.push("a", layers=(700_000,))
    upstream.does.auth = "bearer"
    upstream.url = upstream.url.replace("localhost", "registry.test")
    async with proxying() as (proxy, port):
        cache = make_cache()
        cache.environment |= {"HTTPS_PROXY": f"http://robot:secret-word@127.0.0.1:{port}", "NO_PROXY": no_proxy}
        await cache.start()
        if no_proxy == "*":
            assert (await cache.ask("a/manifests/latest")).status == 502  # the name exists for the proxy only
            assert proxy.targets == []
        else:
            await cache.pull("a")
            assert set(proxy.targets) == {upstream.url.removeprefix("https://")}
            assert proxy.logins == {"Basic cm9ib3Q6c2VjcmV0LXdvcmQ="}
        assert "secret-word" not in cache.log() + str(await cache.status())
