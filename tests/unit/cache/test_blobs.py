"""Test what a blob service does before it sends a stored blob."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cache.config import UpstreamConfig
from cache.content.blobs import BlobService
from cache.content.download import Downloads
from cache.content.suspicion import VERIFICATION_PAUSE
from cache.model.reference import Digest
from cache.replicas.peers import Peers
from cache.store.blob_files import is_sound
from cache.upstream.client import UpstreamClient
from cache.upstream.proxies import Proxies
from cache.upstream.session import Session
from cache.upstream.trust import client_context
from tests.support.stores import a_store

if TYPE_CHECKING:
    from pathlib import Path

AREA = "0" * 12
EMPTY = Digest("sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
NODE = "192.0.2.1"


@pytest.fixture
async def blobs(tmp_path: Path) -> BlobService:
    """Return a service with one stored blob."""
    store, evictor = a_store(tmp_path)
    writer = await store.create_blob(AREA, EMPTY, 0)
    await store.commit_blob(writer, EMPTY, 0)
    writer.drop()
    session = Session(client_context)
    client = UpstreamClient(UpstreamConfig(host="registry.test", url="https://registry.test"), session, Proxies())
    return BlobService(
        AREA, "registry.test", client, store, Peers(session), Downloads(), lambda *_: None, evictor.check
    )


async def test_pause_begins_after_a_slow_verification(blobs: BlobService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that takes longer than the pause is not followed by another one at once."""
    clock, hashes = [0.0], 0

    def slow(path: Path, digest: Digest) -> bool:
        nonlocal hashes
        hashes += 1
        clock[0] += 6 * VERIFICATION_PAUSE
        return is_sound(path, digest)

    monkeypatch.setattr("cache.content.blobs.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("cache.store.file_store.is_sound", slow)
    for _ in range(2):
        blobs.suspicions.served(EMPTY, NODE, clock[0])
        stored = await blobs.stored(EMPTY, NODE)
        assert stored is not None
        stored.close()
    assert hashes == 1
