"""Nothing that a client sends reaches a path, another host, or the end of the service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

HEX = "a" * 64
SHA = f"sha256:{HEX}"
BAD_NAMES = [
    "../../etc/passwd",
    "a/../b",
    "a/./b",
    "a//b",
    "/etc/passwd",
    "a%2f..%2fb",
    "%2e%2e/a",
    "a%00b",
    "a%0d%0ab",
    "A",
    "-a",
    "a.",
    "_tags",
    "a/_tags",
    "%C3%A9",
    "n" * 256,
    "n" * 10_000,
]
BAD_DIGESTS = [
    "sha256:../../../../etc/passwd",
    "sha256:..%2f..%2f..%2fetc%2fpasswd",
    f"sha256:../{HEX[:61]}",
    f"sha256:{HEX[:63]}%00",
    f"sha256:{HEX}%00",
    f"sha256%3A{HEX}",
    f"sha256:{HEX[:-1]}",
    f"sha256:{HEX}a",
    f"sha256:{HEX[:-1]}A",
    f"sha256:{HEX[:-1]}g",
    f"SHA256:{HEX}",
    f"md5:{HEX[:32]}",
    f"sha512:{HEX}",
    f"../tmp:{HEX}",
    "a" * 10_000,
    f"sha256:{'a' * 10_000}",
]
BAD_TAGS = ["..", ".", "-tag", "a%2fb", "%2e%2e", "a%00", "t" * 129, "t" * 10_000, "a:b", "a@b"]
PATHS = [
    *(f"{name}/{kind}/{reference}" for name in BAD_NAMES for kind, reference in (("manifests", "t"), ("blobs", SHA))),
    *(f"a/{kind}/{digest}" for digest in BAD_DIGESTS for kind in ("blobs", "manifests", "referrers")),
    *(f"a/manifests/{tag}" for tag in BAD_TAGS),
    *("a/blobs/uploads/", "_catalog", "a/tags/other", "a/tags", "manifests/t", "%00", "x" * 10_000),
]
BAD_HOSTS = [
    "",
    "other.test",
    "127.0.0.1",
    "localhost",
    "169.254.169.254",
    "[::1]",
    "registry.test:80",
    "REGISTRY.test",
]


async def test_bad_paths_are_refused(upstream: Registry, cache: Cache) -> None:
    """Each is an error of the client. The upstream is not asked, and nothing is stored."""
    answers = {path: await cache.ask(path) for path in PATHS}
    assert {path: each.status for path, each in answers.items() if each.status not in (400, 404)} == {}
    assert all(path == "/v2/" for _, path in upstream.requests)  # the probe
    assert {each.name for each in cache.root.iterdir()} == {"tmp"}
    assert cache.problems() == []


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "CONNECT", "OPTIONS"])
async def test_writes_are_refused(cache: Cache, method: str) -> None:
    """The cache is read-only."""
    answer = await cache.ask(f"a/blobs/{SHA}", method)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")


async def test_other_hosts_are_unknown(upstream: Registry, cache: Cache) -> None:
    """`ns` names a host of the configuration, also with its default port, or gets 404. No other host is asked."""
    upstream.push("a")
    for host in [*BAD_HOSTS, upstream.url, upstream.other_url.removeprefix("https://"), "n" * 5000, "%00", "a&ns=b"]:
        for path in ("a/manifests/latest", f"a/blobs/{SHA}"):
            assert (await cache.ask(f"{path}?ns={host}")).status == 404
    assert all(path == "/v2/" for _, path in upstream.requests)
    for host in ("registry.test", "registry.test:443"):
        assert (await cache.ask(f"a/manifests/latest?ns={host}")).status == 200
    assert (await cache.ask("a/manifests/latest?ns=registry.test&ns=other.test")).status == 404


async def test_host_of_the_request_does_not_matter(upstream: Registry, cache: Cache) -> None:
    """A Host header, or a whole URL as the target of a request, leads nowhere else."""
    upstream.push("a")
    assert (await cache.ask("a/manifests/latest", headers={"Host": "169.254.169.254"})).status == 200
    reader, writer = await asyncio.open_connection("localhost", cache.port, ssl=cache.context)
    writer.write(b"GET http://169.254.169.254/v2/a/manifests/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_content_is_kept_apart_by_upstream(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """A blob or a tag of one upstream is not served as that of another, which may refuse it."""
    _, blobs = upstream.push("a")
    other = {"host": "other.test", "url": upstream.other_url, "credentials": None}
    cache = make_cache()
    cache.config["upstreams"].append(other)
    await cache.start()
    await cache.pull("a")
    upstream.does.status[""] = 403
    for path in ("a/manifests/latest", f"a/blobs/{blobs[1]}"):
        assert (await cache.ask(f"{path}?ns=other.test")).status == 403
    upstream.does.status.clear()
    for host in ("registry.test", "other.test"):
        for path in ("a/manifests/latest", f"a/blobs/{blobs[1]}"):
            assert (await cache.ask(f"{path}?ns={host}")).status == 200
    assert len(cache.files(f"blobs/*/*/{blobs[1].partition(':')[2]}")) == 2
