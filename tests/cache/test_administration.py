"""An administrator lists and purges stored images in the container of a running cache."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from cache.administration import image_in
from cache.config import parse
from tests.cache.program import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry


async def administer(cache: Cache, command: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command as `kubectl exec` does; return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cache", command, str(cache.folder / "config.json"), *arguments),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def images(cache: Cache) -> dict[str, Json]:
    """Return the stored images by name."""
    status, out, err = await administer(cache, "images")
    assert (status, err) == (0, "")
    return {
        f"{each['repository']}:{each['tag']}" if each["tag"] else each["digest"]: each
        for each in json.loads(out)["images"]
    }


async def purge(cache: Cache, image: str) -> Json:
    """Purge an image, and return what was removed."""
    status, out, err = await administer(cache, "purge", image)
    assert (status, err) == (0, "")
    removed: Json = json.loads(out)
    return removed


async def test_images_are_listed_with_size_and_last_use(upstream: Registry, cache: Cache) -> None:
    assert await images(cache) == {}
    digest, _ = upstream.push("team/app", "1", layers=(1000, 2000))
    other, _ = upstream.push("team/other", "1")
    await cache.pull("team/app", "1")
    await cache.pull_digest("team/other", other)
    found = await images(cache)
    assert found.keys() == {"team/app:1", other}
    image = found["team/app:1"]
    assert (image["digest"], image["missingBlobs"]) == (digest, 0)
    assert 3000 < image["size"] < 6000
    assert image["lastUsed"].startswith("20")


async def test_image_without_a_layer_is_incomplete(upstream: Registry, cache: Cache) -> None:
    _, blobs = upstream.push("team/app", "1")
    await cache.pull("team/app", "1")
    cache.stored(blobs[-1]).unlink()
    assert (await images(cache))["team/app:1"]["missingBlobs"] == 1


async def test_index_needs_the_pulled_platforms_only(upstream: Registry, cache: Cache) -> None:
    platforms = [upstream.push("team/app", name)[0] for name in ("amd64", "arm64")]
    upstream.tags["team/app", "1"] = upstream.add_index(platforms)
    await cache.ask("team/app/manifests/1")
    await cache.pull_digest("team/app", platforms[0])
    found = await images(cache)
    assert found["team/app:1"]["missingBlobs"] == 0
    assert found.keys() == {"team/app:1"}


async def test_purged_image_is_fetched_again(upstream: Registry, cache: Cache) -> None:
    """The running cache notices the removal, without a restart."""
    digest, blobs = upstream.push("team/app", "1")
    await cache.pull("team/app", "1")
    removed = await purge(cache, f"{cache.config['upstreams'][0]['host']}/team/app:1")
    assert removed["files"] == 2 + len(blobs)
    assert removed["bytes"] > 1000
    assert not cache.has(digest, "manifests")
    assert not any(map(cache.has, blobs))
    assert await images(cache) == {}
    upstream.forget()
    await cache.pull("team/app", "1")
    assert upstream.count("GET", "/blobs/") == len(blobs)
    assert cache.problems() == []


async def test_purge_keeps_content_of_other_images(upstream: Registry, cache: Cache) -> None:
    first, blobs = upstream.push("team/app", "1")
    upstream.tags["team/app", "latest"] = first
    second = upstream.add_image([*blobs, upstream.add_blob(b"more")])
    upstream.tags["team/app", "2"] = second
    for tag in ("1", "latest", "2"):
        await cache.pull("team/app", tag)
    assert (await purge(cache, "team/app:1"))["files"] == 1, "the tag alone, because latest has the same image"
    assert (await purge(cache, "team/app"))["files"] == 2, "the tag and its manifest, because 2 has the same blobs"
    assert all(map(cache.has, blobs))
    upstream.does.status[""] = 503
    await cache.pull("team/app", "2")


async def test_purged_digest_is_removed_everywhere(upstream: Registry, cache: Cache) -> None:
    """A digest is removed even if images refer to it."""
    digest, blobs = upstream.push("team/app", "1")
    await cache.pull("team/app", "1")
    await purge(cache, blobs[0])
    assert not cache.has(blobs[0])
    assert (await images(cache))["team/app:1"]["missingBlobs"] == 1
    await purge(cache, digest)
    assert await images(cache) == {}


async def test_purge_of_an_unknown_image_removes_nothing(cache: Cache) -> None:
    assert await purge(cache, "team/app:1") == {"files": 0, "bytes": 0}


async def test_wrong_arguments_are_refused(cache: Cache) -> None:
    for arguments in (["purge"], ["purge", "../../etc"], ["purge", "UPPER:1"], ["images", "x"]):
        status, out, err = await administer(cache, *arguments)
        assert (status, out) == (2, "")
        assert err


async def test_metrics_are_those_of_the_running_cache(upstream: Registry, cache: Cache) -> None:
    upstream.push("team/app", "1")
    await cache.pull("team/app", "1")
    status, out, err = await administer(cache, "metrics")
    assert (status, err) == (0, "")
    assert "registrymirror_cache_requests_total{" in out


async def test_files_of_former_caches_are_removed(make_cache: Callable[..., Cache]) -> None:
    """Nginx and distribution of mirror-operator left them in the root of the volume."""
    cache = make_cache()
    former = ["0/a1/00", "f/b3/" + "0" * 32, "docker/registry/v2/blobs/x", "scheduler-state.json"]
    kept = ["lost+found/x", "0a/x", "backup/x"]
    for name in (*former, *kept):
        path = cache.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    await cache.start()

    async def removed() -> bool:
        left = {str(each.relative_to(cache.root)) for each in cache.root.rglob("*") if each.is_file()}
        return left == set(kept)

    await cache.until(removed)


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("quay.io/org/app:1", "quay.io", "/v2/org/app/manifests/1"),
        ("nginx", "docker.io", "/v2/library/nginx/manifests/latest"),
        ("index.docker.io/library/nginx:1", "docker.io", "/v2/library/nginx/manifests/1"),
        ("org/app", "docker.io", "/v2/org/app/manifests/latest"),
        (f"quay.io/app@sha256:{'0' * 64}", "quay.io", f"/v2/app/manifests/sha256:{'0' * 64}"),
        (f"quay.io/app:1@sha256:{'0' * 64}", "quay.io", f"/v2/app/manifests/sha256:{'0' * 64}"),
    ],
)
def test_image_names_are_those_of_pods(text: str, host: str, path: str) -> None:
    config = {
        "listen": ":1",
        "statusListen": ":2",
        "tls": None,
        "root": "/data",
        "ttl": "1h",
        "upstreams": [
            {"host": "docker.io", "url": "https://registry-1.docker.io"},
            {"host": "quay.io", "url": "https://quay.io"},
        ],
    }
    upstream, reference = image_in(parse(json.dumps(config).encode()), text)
    assert (upstream.host, reference.path) == (host, path)
