"""Each kind of content is served and stored as the bytes that the upstream sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cache.images import MANIFEST
from tests.cache.kinds import KINDS

if TYPE_CHECKING:
    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

LONGEST_COMPONENT = "x" * 255
LONGEST_PATH = "/".join(["y" * 63] * 3 + ["z" * 63])
NAMES = ["a", "0", "a.b_c__d---e/f", LONGEST_COMPONENT, LONGEST_PATH]
TAGS = ["t", "_", "0", "T.-_t", "t" * 128, "latest.type"]


@pytest.mark.parametrize("kind", KINDS)
async def test_kind_of_content_is_kept(upstream: Registry, cache: Cache, kind: str) -> None:
    """An image is pulled with the type and bytes of the upstream, and again while the upstream is away."""
    digest = KINDS[kind](upstream)
    upstream.tags["team/app", "latest"] = digest
    content, media_type = upstream.manifests[digest]
    for _ in range(2):
        await cache.pull("team/app")
        for reference in ("latest", digest):
            answer = await cache.ask(f"team/app/manifests/{reference}")
            assert (answer.status, answer.body) == (200, content)
            assert answer.headers["Content-Type"] == media_type
            assert answer.headers["Docker-Content-Digest"] == digest
        upstream.does.status[""] = 503
    await cache.stop()
    await cache.start()
    await cache.pull("team/app")


async def test_names_and_tags_at_the_limits(upstream: Registry, cache: Cache) -> None:
    """All that the grammar allows is served from the store, and one name never means another."""
    images = {(name, tag): upstream.push(name, tag)[0] for name in NAMES for tag in TAGS}
    for outage in (200, 503):
        upstream.does.status[""] = outage
        for (name, tag), digest in images.items():
            answer = await cache.ask(f"{name}/manifests/{tag}")
            assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)


async def test_manifest_beyond_the_limit_is_refused(upstream: Registry, cache: Cache) -> None:
    """A manifest of more than 4 MiB is an error, compressed or not, and is not stored."""
    digest = upstream.add_manifest(b'{"x": "' + b"y" * 4_300_000 + b'"}', MANIFEST)
    for compressed in (False, True):
        upstream.does.gzip_manifests = compressed
        assert (await cache.ask(f"a/manifests/{digest}")).status == 502
    assert not cache.has(digest, "manifests")
