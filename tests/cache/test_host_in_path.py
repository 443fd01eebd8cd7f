"""A request without `ns` names its registry in the path, as in `mirror.example.com/quay.io/org/app:1`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.program import credentials
from tests.cache.upstream import Registry, basic, listening

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.cache.program import Cache

HOSTS = ("127.0.0.1", "169.254.169.254", "localhost", "kubernetes.default.svc", "third.test", "registry-1.docker.io")


@pytest.fixture
async def other(server_context: ssl.SSLContext) -> AsyncIterator[Registry]:
    """Serve a second registry."""
    registry = Registry()
    async with listening(registry.handle, server_context) as port:
        registry.url = f"https://localhost:{port}"
        yield registry


@pytest.fixture
async def cache(make_cache: Callable[..., Cache], other: Registry, tmp_path: Path) -> Cache:
    """Return a cache of both registries. The second one has an account."""
    account = credentials(tmp_path / "account")
    cache = make_cache()
    for host in ("other.test", "other.test:5000"):
        cache.config["upstreams"].append({"host": host, "url": other.url, "credentials": account})
    return await cache.start()


@pytest.mark.parametrize("auth", [None, "basic", "bearer"])
@pytest.mark.parametrize("host", ["other.test", "other.test:5000", "other.test:443"])
async def test_first_component_chooses_upstream(
    upstream: Registry, other: Registry, cache: Cache, host: str, auth: str | None
) -> None:
    """The upstream sees the path without the host, and so does the token service."""
    other.push("org/app", layers=(700_000,))
    other.does = Behaviour(auth=auth)
    await cache.pull(f"{host}/org/app")
    assert upstream.count(part="app") == 0
    assert {path for _, path in other.requests if host in path} == set()
    assert [str(each.relative_to(cache.root)).split("/")[1:-2] for each in cache.files("tags/*/*/*/*")] == [
        ["tags", "org", "app"]
    ]


async def test_host_in_path_shares_content_with_ns(other: Registry, cache: Cache) -> None:
    """Both ways lead to the same stored image."""
    other.push("org/app", layers=(700_000,))
    await cache.pull("other.test/org/app")
    sent = other.sent
    assert (await cache.ask("org/app/manifests/latest?ns=other.test")).status == 200
    await cache.pull("other.test/org/app")
    assert other.sent == sent


async def test_ns_takes_path_as_it_is(upstream: Registry, other: Registry, cache: Cache) -> None:
    """A registry may have a repository whose name starts with the host of another one."""
    digest, _ = upstream.push("other.test/org/app")
    other.push("org/app")
    answer = await cache.ask("other.test/org/app/manifests/latest?ns=registry.test")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
    assert other.count(part="app") == 0
    assert (await cache.ask("registry.test/org/app/manifests/latest?ns=other.test")).status == 404


async def test_host_alone_is_a_repository(upstream: Registry, other: Registry, cache: Cache) -> None:
    """A name of one component has no host, also if its reference looks like more of a path."""
    digest, _ = upstream.push("other.test")
    answer = await cache.ask("other.test/manifests/latest")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
    other.push("manifests")
    assert (await cache.ask("other.test/manifests/manifests/latest")).status == 200


async def test_other_hosts_in_path_lead_nowhere(upstream: Registry, other: Registry, cache: Cache) -> None:
    """Any other first component belongs to the repository at the first upstream."""
    asked = [f"{host}/org/app/manifests/latest" for host in HOSTS]
    assert {(await cache.ask(path)).status for path in asked} == {404}
    names = {path for _, path in upstream.requests} - {"/v2/"}
    assert names == {f"/v2/{path}" for path in asked}
    for path in ("other.test%2Forg/app", "%6fther.test/org/app", "OTHER.test/org/app", "other.test/../org/app"):
        assert (await cache.ask(f"{path}/manifests/latest")).status == 400
    assert {path for _, path in other.requests} <= {"/v2/"}


@pytest.mark.parametrize("first", ["other.test/org/app/tags/list?n=1", "org/app/tags/list?n=1&ns=other.test:5000"])
async def test_next_page_is_of_the_same_registry(upstream: Registry, other: Registry, cache: Cache, first: str) -> None:
    """The link to the next page names the registry as the request did."""
    for tag in ("1", "2", "3"):
        other.push("org/app", tag)
    path, tags = first, []
    while path:
        answer = await cache.ask(path)
        tags += json.loads(answer.body)["tags"]
        path = answer.headers.get("Link", "").removeprefix("</v2/").removesuffix('>; rel="next"')
    assert tags == ["1", "2", "3"]
    assert upstream.count(part="app") == 0


async def test_accounts_stay_with_their_upstream(
    upstream: Registry, other: Registry, cache: Cache, tmp_path: Path
) -> None:
    """No request for one upstream carries the account of another one, also after a refusal or a changed order."""
    cache.config["upstreams"][0]["credentials"] = credentials(tmp_path / "first", b"first", b"one")
    cache.write()
    for registry, account in ((upstream, b"first:one"), (other, b"robot:secret")):
        registry.push("org/app")
        registry.does = Behaviour(auth="basic", accounts=(account,))

    async def accepted() -> bool:
        return (await cache.ask("org/app/manifests/latest")).status == 200

    await cache.until(accepted)
    upstream.does.accounts = ()
    cache.config["upstreams"].reverse()
    cache.write()

    async def other_is_first() -> bool:
        return bool((await cache.status())["upstreams"][0]["url"] == other.url)

    await cache.until(other_is_first)
    assert (await cache.ask("org/app/manifests/latest")).status == 200
    assert (await cache.ask("org/app/manifests/latest?ns=registry.test")).status == 401
    assert set(upstream.logins) - {""} == {basic(b"first:one")}
    assert set(other.logins) - {""} == {basic(b"robot:secret")}
