"""A replica that lies is not believed: no wrong byte is stored, no wrong body is complete, no pull fails twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.cache.behaviour import Behaviour
from tests.cache.images import MANIFEST, digest_of
from tests.cache.upstream import Registry, listening

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.cache.program import Cache

SIZES = (1000, 400_000, 600_000, 2_000_000) * 3  # the liar owns half of them
NAMES = [f"a{number}" for number in range(8)]  # and half of their tags
LIES: dict[str, Callable[[bytes], bytes]] = {
    "other bytes": lambda content: os.urandom(len(content)),
    "one other byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "shorter": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "much longer": lambda content: content + bytes(5_000_000),
    "empty": lambda _: b"",
}
BEHAVIOURS = {
    "chunked": Behaviour(chunked=True),
    "web page": Behaviour(html=True),
    "elsewhere": Behaviour(moved=True),
    "redirect": Behaviour(redirect="other host"),
    "broken": Behaviour(status={"": 500}),
    "limited": Behaviour(status={"": 429}, retry_after="3600"),
    "denying": Behaviour(status={"": 403}),
    "no such content": Behaviour(status={"": 404}),
    "login": Behaviour(auth="bearer"),
    "closing": Behaviour(cut_at=0),
    "compressed": Behaviour(gzip_manifests=True),
}


@pytest.fixture
async def liar(server_context: ssl.SSLContext) -> AsyncIterator[Registry]:
    """Serve what a replica would serve."""
    liar = Registry()
    async with listening(liar.handle, server_context) as port, listening(liar.handle, server_context) as other:
        liar.url, liar.other_url = f"https://localhost:{port}", f"https://localhost:{other}"
        yield liar


@pytest.fixture
async def deceived(make_cache: Callable[..., Cache], liar: Registry, tmp_path: Path) -> Cache:
    """Return a cache whose only other replica is the liar."""
    cache = make_cache()
    members = {cache.name: cache.url, "liar": liar.url}
    cache.config["peers"] = {"self": cache.name, "members": members, "ca": str(tmp_path / "ca.crt")}
    return await cache.start()


def _lie(upstream: Registry, liar: Registry, lie: Callable[[bytes], bytes]) -> None:
    """Give the liar another content for each digest."""
    liar.blobs = {digest: lie(content) for digest, content in upstream.blobs.items()}
    liar.manifests = {digest: (lie(content), kind) for digest, (content, kind) in upstream.manifests.items()}
    liar.tags = upstream.tags


async def _complete(cache: Cache, path: str) -> bool:
    """Ask for content. Return True if the answer is complete, in which case it must be right."""
    try:
        answer = await cache.ask(path)
    except aiohttp.ClientError:
        return False
    assert answer.status == 200, (answer.status, answer.body[:200])
    assert digest_of(answer.body) == path.rpartition("/")[2]
    return True


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("lie", LIES)
async def test_wrong_content_is_fetched_again(
    upstream: Registry, liar: Registry, deceived: Cache, lie: str, *, chunked: bool
) -> None:
    """The upstream's content replaces it. A large blob, whose first bytes were sent, is right at the next request."""
    digest, blobs = upstream.push("a", layers=SIZES)
    _lie(upstream, liar, LIES[lie])
    liar.does.chunked = chunked
    assert await _complete(deceived, f"a/manifests/{digest}")
    cut = [blob for blob in blobs if not await _complete(deceived, f"a/blobs/{blob}")]
    assert len(cut) <= 1  # the liar is left out from then on
    for blob in blobs:
        assert await _complete(deceived, f"a/blobs/{blob}")
    assert deceived.sound_blobs() == len(blobs)
    assert liar.count() > 0


@pytest.mark.parametrize("does", BEHAVIOURS.values(), ids=BEHAVIOURS.keys())
async def test_useless_replica_fails_no_pull(
    upstream: Registry, liar: Registry, deceived: Cache, does: Behaviour
) -> None:
    """A replica that answers with anything else than content costs a request."""
    upstream.push("a", layers=SIZES)
    for name in NAMES:
        upstream.push(name, layers=())
    _lie(upstream, liar, bytes)
    liar.does = does
    for name in ("a", *NAMES):
        await deceived.pull(name)
    assert deceived.sound_blobs() == len(SIZES) + 1 + len(NAMES)
    assert (await deceived.status())["upstreams"][0]["reason"] == "Reachable"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_wrong_tag_of_a_replica_is_replaced(
    upstream: Registry, liar: Registry, deceived: Cache, method: str
) -> None:
    """A replica names a digest that no registry has. A GET gets the upstream's image, a pull the second time."""
    wrong = digest_of(b"wrong")
    images = {name: upstream.push(name)[0] for name in NAMES}
    liar.tags = dict.fromkeys(upstream.tags, wrong)
    liar.manifests = {wrong: (b"{}", MANIFEST)}
    for name, digest in images.items():
        answer = await deceived.ask(f"{name}/manifests/latest", method)
        named = answer.headers["Docker-Content-Digest"]
        if method == "HEAD" and named == wrong:
            assert (await deceived.ask(f"{name}/manifests/{wrong}")).status == 404
        else:
            assert (answer.status, named) == (200, digest)
        await deceived.pull(name)
        assert (await deceived.ask(f"{name}/manifests/latest")).body == upstream.manifests[digest][0]
    assert liar.count("HEAD", "/manifests/latest") > 0
    assert not deceived.has(wrong, "manifests")


async def test_endless_manifest_costs_no_memory(upstream: Registry, liar: Registry, deceived: Cache) -> None:
    """Manifests of a replica have the size limit of those of the upstream."""
    digests = [upstream.add_manifest(b'{"x": %d}' % number, MANIFEST) for number in range(8)]
    liar.manifests = {digest: (bytes(200_000_000), MANIFEST) for digest in digests}
    before = deceived.memory()
    for digest in digests:
        assert await _complete(deceived, f"a/manifests/{digest}")
    assert deceived.memory() - before < 50_000_000
    assert liar.count() > 0
