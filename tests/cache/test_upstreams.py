"""Registries differ. The cache pulls from each of these, and stores nothing wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.images import digest_of
from tests.cache.upstream import listening

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

KINDS = {
    "no HEAD": Behaviour(head={"": 405}),
    "no HEAD of blobs": Behaviour(head={"blobs": 401}),
    "HEAD refused as bad": Behaviour(head={"": 400}),
    "HEAD not implemented": Behaviour(head={"": 501}),
    "no digest header": Behaviour(digest_header=None),
    "wrong digest header and no HEAD": Behaviour(digest_header="wrong", head={"": 405}),
    "chunked": Behaviour(chunked=True),
    "no ranges": Behaviour(has_ranges=False),
    "compressed manifests": Behaviour(gzip_manifests=True),
    "compressed manifests and no HEAD": Behaviour(gzip_manifests=True, head={"": 405}),
    "closed in the middle": Behaviour(cut_at=700_000),
    "closed in the middle, no ranges": Behaviour(cut_at=700_000, has_ranges=False),
    "closed at the end": Behaviour(never_ends=True),
    "closed at the end, chunked": Behaviour(never_ends=True, chunked=True),
    "closed in the middle, chunked": Behaviour(cut_at=700_000, chunked=True),
}


@pytest.mark.parametrize("does", KINDS.values(), ids=KINDS.keys())
async def test_pull(upstream: Registry, cache: Cache, does: Behaviour) -> None:
    """A pull works, and a second one costs the upstream no blob."""
    _, blobs = upstream.push("team/app", layers=(1_500_000, 20))
    upstream.does = does
    await cache.pull("team/app")
    sent = upstream.sent
    await cache.pull("team/app")
    assert upstream.sent == sent
    assert all(cache.has(each) for each in blobs)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 405, 501])
async def test_size_of_a_cold_blob(upstream: Registry, cache: Cache, status: int) -> None:
    """A HEAD is answered although the upstream refuses it for blobs."""
    _, blobs = upstream.push("team/app", layers=(700_000,))
    upstream.does.head = {"blobs": status}
    answer = await cache.ask(f"team/app/blobs/{blobs[1]}", "HEAD")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "700000")


async def test_upstream_without_tls(upstream: Registry, make_cache: Callable[..., Cache]) -> None:
    """An upstream with plain HTTP has a token service with plain HTTP, and redirects to HTTPS."""
    upstream.push("team/app", layers=(700_000,))
    upstream.does = Behaviour(auth="bearer", redirect="other host")
    async with listening(upstream.handle, None) as port:
        upstream.url = f"http://localhost:{port}"
        await (await make_cache().start()).pull("team/app")
    assert upstream.token_requests == 1


async def test_broken_transfer_continues(upstream: Registry, cache: Cache) -> None:
    """The rest is fetched with a range."""
    _, blobs = upstream.push("team/app", layers=(1_500_000,))
    # Slow enough for the cache to read what was sent before the cut: its client drops unread bytes of a broken body.
    upstream.does = Behaviour(cut_at=800_000, rate=2_000_000)
    answer = await cache.ask(f"team/app/blobs/{blobs[1]}")
    assert digest_of(answer.body) == blobs[1]
    first, second = upstream.offsets
    assert (first, second > 0) == (0, True)


@pytest.mark.parametrize("length", [-1, 1])
@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_wrong_body_never_completes(
    upstream: Registry, cache: Cache, length: int, size: int, *, chunked: bool
) -> None:
    """A body that is one byte short or long ends in an error, and is not stored."""
    _, blobs = upstream.push("team/app", layers=(size,))
    upstream.does = Behaviour(wrong_length=length, chunked=chunked)
    try:
        answer = await cache.ask(f"team/app/blobs/{blobs[1]}")
    except aiohttp.ClientPayloadError:
        pass
    else:
        assert answer.status == 502
    assert not cache.has(blobs[1])
    upstream.does = Behaviour()
    assert digest_of((await cache.ask(f"team/app/blobs/{blobs[1]}")).body) == blobs[1]


async def test_compressed_blob_is_refused(upstream: Registry, cache: Cache) -> None:
    """The cache asks for bytes without compression. Others do not have the digest."""
    _, blobs = upstream.push("team/app", layers=(1_500_000,))
    upstream.does = Behaviour(gzip_blobs=True)
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == 502
    assert not cache.has(blobs[1])
    assert (await cache.status())["upstreams"][0]["reason"] == "NotARegistry"


@pytest.mark.parametrize(
    "does",
    [Behaviour(html=True), Behaviour(moved=True), Behaviour(healthy=True)],
    ids=["web page", "web page elsewhere", "JSON"],
)
async def test_other_content_is_no_registry(upstream: Registry, cache: Cache, does: Behaviour) -> None:
    """A server that answers 200 to everything, or redirects to a page, is reported, and nothing of it is stored."""
    _, blobs = upstream.push("team/app")
    upstream.does = does
    assert (await cache.ask(f"team/app/referrers/{blobs[0]}")).status == 502
    assert (await cache.ask("team/app/tags/list")).status == 502
    assert (await cache.ask("team/app/manifests/latest")).status == 502
    assert (await cache.status())["upstreams"][0]["reason"] == "NotARegistry"
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == 502
    assert cache.files("**/*") == []


async def test_head_is_used_again_after_a_web_page(upstream: Registry, cache: Cache) -> None:
    """A portal does not change how tags are checked: GET of a manifest counts as a pull at Docker Hub."""
    upstream.push("team/app")
    await cache.pull("team/app")
    upstream.does.html = True
    assert (await cache.ask("team/app/manifests/latest", "HEAD")).status == 200
    upstream.does.html = False
    gets = upstream.count("GET", "/manifests/")

    async def checked() -> bool:
        heads = upstream.count("HEAD", "/manifests/")
        await cache.ask("team/app/manifests/latest", "HEAD")
        return upstream.count("HEAD", "/manifests/") > heads

    await cache.until(checked)
    assert upstream.count("GET", "/manifests/") == gets


async def test_referrers_are_kept(upstream: Registry, cache: Cache) -> None:
    """Referrers are passed through, and served while the upstream is away."""
    digest, _ = upstream.push("a")
    upstream.referrers[digest] = {"schemaVersion": 2, "manifests": []}
    first = await cache.ask(f"a/referrers/{digest}")
    upstream.does.status[""] = 503
    second = await cache.ask(f"a/referrers/{digest}")
    assert (first.status, first.body) == (second.status, second.body) == (200, second.body)
    assert (await cache.ask(f"b/referrers/{digest}")).status == 503


async def test_list_of_tags_is_passed_on(upstream: Registry, cache: Cache) -> None:
    """The tags are those of the upstream."""
    upstream.push("a", "1")
    upstream.push("a", "2")
    assert json.loads((await cache.ask("a/tags/list")).body)["tags"] == ["1", "2"]


async def test_list_of_no_tags_is_passed_on(cache: Cache) -> None:
    """Some registries write null for a repository without tags."""
    answer = await cache.ask("a/tags/list")
    assert (answer.status, json.loads(answer.body)) == (200, {"name": "a", "tags": None})
