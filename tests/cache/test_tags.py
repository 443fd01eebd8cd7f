"""A tag is what the upstream says it is now, or what it was when the upstream was asked last."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cache import moved_clock
from tests.cache.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

DIGEST = "Docker-Content-Digest"


async def test_changed_tag_is_seen(upstream: Registry, cache: Cache) -> None:
    """A tag is checked at each request."""
    first, _ = upstream.push("team/app")
    await cache.pull("team/app")
    second, _ = upstream.push("team/app")
    answer = await cache.ask("team/app/manifests/latest", "HEAD")
    assert answer.headers[DIGEST] == second != first


async def test_tag_of_a_slow_upstream_changes(upstream: Registry, cache: Cache) -> None:
    """A check that takes too long gives the stored image. The next pull gets what it answered."""
    first, _ = upstream.push("team/app")
    await cache.pull("team/app")
    upstream.does.latency = 1.2  # seconds
    second, blobs = upstream.push("team/app")

    async def is_known() -> bool:
        return cache.has(second, "manifests")

    for digest in (first, second):
        answer = await cache.ask("team/app/manifests/latest", "HEAD")
        assert answer.headers[DIGEST] == digest
        await cache.until(is_known, 10)
    await cache.pull("team/app")
    assert all(cache.has(each) for each in blobs)


@pytest.mark.parametrize("is_stored", [True, False])
async def test_head_has_the_size_of_the_manifest(upstream: Registry, cache: Cache, *, is_stored: bool) -> None:
    """The upstream may compress although it was asked not to. Its Content-Length is not that of the content."""
    upstream.does.gzip_manifests = True
    digest, _ = upstream.push("team/app")
    if is_stored:
        await cache.pull("team/app")
    answer = await cache.ask("team/app/manifests/latest", "HEAD")
    assert int(answer.headers["Content-Length"]) == len(upstream.manifests[digest][0])


async def test_one_check_for_many_clients(upstream: Registry, cache: Cache) -> None:
    """Clients that ask for a tag at the same moment share one request."""
    upstream.push("team/app")
    upstream.does.latency = 0.3
    await asyncio.gather(*(cache.ask("team/app/manifests/latest", "HEAD") for _ in range(20)))
    assert upstream.count("HEAD", "/manifests/latest") == 1


async def test_check_costs_no_get(upstream: Registry, cache: Cache) -> None:
    """A HEAD of a tag is a HEAD: Docker Hub counts the GET of a manifest as a pull."""
    upstream.push("team/app")
    await cache.ask("team/app/manifests/latest", "HEAD")
    assert upstream.count("GET", "/manifests/") == 0


@pytest.mark.parametrize("outage", [Behaviour(status={"": 429}), Behaviour(status={"": 503})], ids=["limit", "outage"])
async def test_former_tag_outlives_a_check(upstream: Registry, cache: Cache, outage: Behaviour) -> None:
    """An image that was seen and not fetched does not replace the stored one, which is served in an outage."""
    first, _ = upstream.push("team/app")
    await cache.pull("team/app")
    for _ in range(3):
        upstream.push("team/app")
        await cache.ask("team/app/manifests/latest", "HEAD")
    upstream.does = outage
    await cache.stop()
    await cache.start()
    assert (await cache.ask("team/app/manifests/latest", "HEAD")).headers[DIGEST] == first
    await cache.pull("team/app")


async def test_tag_and_manifest_of_different_replicas(upstream: Registry, pair: tuple[Cache, Cache]) -> None:
    """A client may ask one replica for a tag and the other one for its manifest. In an outage both know the image."""
    images = {f"app{number}": upstream.push(f"app{number}")[0] for number in range(6)}
    for name, digest in images.items():
        assert (await pair[0].ask(f"{name}/manifests/latest", "HEAD")).headers[DIGEST] == digest
        assert (await pair[1].ask(f"{name}/manifests/{digest}")).status == 200
    upstream.does.status[""] = 503
    for cache in pair:
        for name, digest in images.items():
            answer = await cache.ask(f"{name}/manifests/latest")
            assert (answer.status, answer.headers.get(DIGEST)) == (200, digest)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_wrong_digest_header_is_not_believed_twice(
    upstream: Registry, pair: tuple[Cache, Cache], method: str
) -> None:
    """A HEAD that names a digest that the upstream does not have is not asked again. A GET is answered at once."""
    digest, _ = upstream.push("team/app")
    upstream.does.digest_header = "wrong"
    answer = await pair[0].ask("team/app/manifests/latest", method)
    if method == "GET":
        assert (answer.status, answer.headers[DIGEST]) == (200, digest)
    else:
        assert (await pair[0].ask(f"team/app/manifests/{answer.headers[DIGEST]}")).status == 404
    await pair[0].pull("team/app")
    upstream.does.status[""] = 503
    await pair[0].pull("team/app")


@pytest.mark.parametrize("refused", [True, False])
async def test_head_is_tried_again_after_an_hour(
    upstream: Registry, make_cache: Callable[..., Cache], tmp_path: Path, *, refused: bool
) -> None:
    """A refused HEAD, or a digest that the upstream no longer has, leads to GET of tags for an hour only."""
    (tmp_path / "python").mkdir()
    shutil.copy(moved_clock.__file__, tmp_path / "python" / "sitecustomize.py")
    cache = make_cache()
    cache.environment |= {"PYTHONPATH": str(tmp_path / "python"), "HOUR_PASSED": str(tmp_path / "passed")}
    await cache.start()

    async def gets_of_a_check() -> int:
        before = upstream.count("GET", "/manifests/latest")
        assert (await cache.ask("team/app/manifests/latest", "HEAD")).status == 200
        return upstream.count("GET", "/manifests/latest") - before

    digest, _ = upstream.push("team/app")
    upstream.does.head = {"manifests": 405} if refused else {}
    assert await gets_of_a_check() == refused
    upstream.does.head = {}
    if not refused:
        del upstream.manifests[digest]
        assert (await cache.ask(f"team/app/manifests/{digest}")).status == 404
        upstream.push("team/app")
    assert await gets_of_a_check() == 1
    (tmp_path / "passed").touch()
    assert await gets_of_a_check() == 0
