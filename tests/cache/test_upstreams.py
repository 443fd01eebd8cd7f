"""Registries differ. The cache pulls from each of these, and stores nothing wrong."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.images import INDEX, MANIFEST, digest_of

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

KINDS = {
    "no HEAD": Behaviour(head={"": 405}),
    "no HEAD of blobs": Behaviour(head={"blobs": 401}),
    "no digest header": Behaviour(digest_header=None),
    "wrong digest header and no HEAD": Behaviour(digest_header="wrong", head={"": 405}),
    "chunked": Behaviour(chunked=True),
    "no ranges": Behaviour(has_ranges=False),
    "redirect to another host": Behaviour(redirect="other host"),
    "relative redirect": Behaviour(redirect="relative"),
    "redirect behind a login": Behaviour(redirect="other host", auth="bearer"),
    "bearer": Behaviour(auth="bearer"),
    "realm with a query": Behaviour(auth="bearer", realm_query=True),
    "compressed manifests": Behaviour(gzip_manifests=True),
    "closed in the middle": Behaviour(cut_at=700_000),
    "closed in the middle, no ranges": Behaviour(cut_at=700_000, has_ranges=False),
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


@pytest.mark.parametrize("redirect", ["loop", "downgrade", "expired"])
async def test_bad_redirect_is_an_error(upstream: Registry, cache: Cache, redirect: str) -> None:
    """A redirect that leads nowhere is an error of the upstream."""
    _, blobs = upstream.push("team/app")
    upstream.does.redirect = redirect
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status in (403, 502)


async def test_one_token_for_many_clients(upstream: Registry, cache: Cache) -> None:
    """A scope costs one token until it expires."""
    upstream.push("team/app", layers=(1000, 2000, 3000))
    upstream.does.auth = "bearer"
    await asyncio.gather(*(cache.pull("team/app") for _ in range(20)))
    assert upstream.token_requests == 1


async def test_expired_token_is_renewed(upstream: Registry, cache: Cache) -> None:
    """A pull goes on with a new token."""
    _, blobs = upstream.push("team/app", layers=(1000, 2000))
    upstream.does = Behaviour(auth="bearer", token_lifetime=3600)
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == 200
    upstream.tokens.clear()
    assert (await cache.ask(f"team/app/blobs/{blobs[2]}")).status == 200


async def test_web_page_is_no_registry(upstream: Registry, cache: Cache) -> None:
    """A portal that answers 200 to everything is reported as one."""
    _, blobs = upstream.push("team/app")
    upstream.does.html = True
    assert (await cache.ask("team/app/manifests/latest")).status == 502
    assert (await cache.ask(f"team/app/blobs/{blobs[1]}")).status == 502
    assert (await cache.status())["upstreams"][0]["reason"] == "NotARegistry"


async def test_unusual_content(upstream: Registry, cache: Cache) -> None:
    """An index in an index, an artifact manifest, a large manifest, an empty blob and long names are served."""
    manifest, _ = upstream.push("a")
    inner = upstream.add_manifest(_index(manifest, upstream), INDEX)
    outer = upstream.add_manifest(_index(inner, upstream), INDEX)
    artifact_type = "application/vnd.oci.artifact.manifest.v1+json"
    artifact = upstream.add_manifest(json.dumps({"mediaType": artifact_type, "blobs": []}).encode(), artifact_type)
    large = upstream.add_manifest(_padded(3_900_000), MANIFEST)
    unnamed = upstream.add_manifest(b'{"schemaVersion": 2, "other": 1}', "application/vnd.example+json")
    name, tag = "/".join(["x" * 127, "y" * 127]), "t" * 128
    upstream.tags[name, tag] = outer
    for digest in (outer, inner, artifact, large, unnamed):
        for _ in range(2):
            answer = await cache.ask(f"{name}/manifests/{digest}")
            assert (answer.status, digest_of(answer.body)) == (200, digest)
            assert answer.headers["Content-Type"] == upstream.manifests[digest][1]
    assert (await cache.ask(f"{name}/manifests/{tag}")).headers["Docker-Content-Digest"] == outer
    empty = upstream.add_blob(b"")
    assert (await cache.ask(f"a/blobs/{empty}")).body == b""


async def test_manifest_beyond_the_limit_is_refused(upstream: Registry, cache: Cache) -> None:
    """A manifest of more than 4 MiB is an error."""
    digest = upstream.add_manifest(_padded(4_300_000), MANIFEST)
    assert (await cache.ask(f"a/manifests/{digest}")).status == 502


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


def _index(digest: str, upstream: Registry) -> bytes:
    size = len(upstream.manifests[digest][0])
    return json.dumps({"mediaType": INDEX, "manifests": [{"digest": digest, "size": size}]}).encode()


def _padded(size: int) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "annotations": {"x": "y" * size}}).encode()
