"""Test the store on a real directory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from cache.model.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from cache.model.reference import Digest
from cache.store import files
from cache.store.blob_files import NoSpaceError, is_sound
from tests.support.stores import a_store
from tests.support.waiting import until_true

if TYPE_CHECKING:
    from cache.store.file_store import FileStore

AREA = "0" * 12
BLOB, OTHER = (Digest("sha256", letter * 64) for letter in "ab")
MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return an empty store."""
    return a_store(tmp_path)[0]


def manifest_of(media_type: str, **document: object) -> Manifest:
    """Return a manifest with this content."""
    content = orjson.dumps({"mediaType": media_type, **document})
    return Manifest(Digest("sha256", hashlib.sha256(content).hexdigest()), content, media_type)


def index_of(*manifests: Manifest) -> Manifest:
    """Return an index of manifests."""
    return manifest_of(OCI_INDEX, manifests=[{"digest": str(each.digest)} for each in manifests])


async def test_children_of_an_index_are_read_once(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index may name few manifests thousands of times. No read delays other requests."""
    children = [manifest_of(OCI_MANIFEST, number=number, layers=[{"digest": str(BLOB)}]) for number in range(2)]
    nested = index_of(*children * 100)
    index = index_of(nested, *children * 100)
    for each in (*children, nested):
        await store.put_manifest(AREA, each)
    reads: list[str] = []
    read_small = files.read_small

    def counted(path: Path) -> bytes | None:
        assert threading.current_thread() is not threading.main_thread()
        reads.append(path.name)
        return read_small(path)

    monkeypatch.setattr(files, "read_small", counted)
    for _ in range(2):
        await store.mark_used(AREA, index)
    assert sorted(reads) == sorted(each.digest.hex for each in (*children, nested))


async def test_layers_of_nested_indexes_are_renewed(store: FileStore) -> None:
    """Blobs of all platforms stay as long as the index is used. Those of other images age."""
    blobs = []
    for each in (BLOB, OTHER):
        blobs.append(await _stored(store, each))
        os.utime(blobs[-1], (1.0, 1.0))
    image = manifest_of(OCI_MANIFEST, layers=[{"digest": str(BLOB)}])
    index = index_of(image)
    for manifest in (image, index):
        await store.put_manifest(AREA, manifest)
    await store.mark_used(AREA, index_of(index))
    assert [path.stat().st_mtime > 1.0 for path in blobs] == [True, False]


@pytest.mark.parametrize(("ttl", "expected"), [(0.0, 3600.0), (7 * 86400.0, 3600.0), (3600.0, 900.0)])
def test_short_ttl_has_a_finer_resolution(ttl: float, expected: float) -> None:
    """A ttl of zero never ends, so that uses need no finer time."""
    assert files.use_resolution(ttl) == expected


async def test_unfinished_files_count(tmp_path: Path) -> None:
    """Downloads at the same time do not exceed the size of the claim together."""
    store, evictor = a_store(tmp_path, max_size=10 * MIB)
    first = await store.create_blob(AREA, BLOB, 6 * MIB)
    with pytest.raises(NoSpaceError):
        await store.create_blob(AREA, OTHER, 6 * MIB)
    assert evictor.space().free == 4 * MIB
    assert _used_on_disk(tmp_path) == 6 * MIB
    first.drop()
    assert evictor.space().free == 10 * MIB
    (await store.create_blob(AREA, OTHER, 6 * MIB)).drop()


async def test_stored_content_makes_room(tmp_path: Path) -> None:
    """It is evicted before the bytes of another blob are reserved."""
    store, evictor = a_store(tmp_path, max_size=10 * MIB)
    first = await store.create_blob(AREA, BLOB, 6 * MIB)
    await store.commit_blob(first, BLOB, 6 * MIB)
    first.drop()
    assert evictor.space().free == 4 * MIB
    second = await store.create_blob(AREA, OTHER, 6 * MIB)
    assert _used_on_disk(tmp_path) == 6 * MIB
    second.drop()
    assert evictor.space().free == 10 * MIB


async def test_blob_of_unknown_size_ends_at_the_limit(tmp_path: Path) -> None:
    store, evictor = a_store(tmp_path, max_size=10 * MIB)
    writer = await store.create_blob(AREA, BLOB, None)
    writer.extend(10 * MIB)
    with pytest.raises(OSError, match="No space left"):
        writer.extend(10 * MIB + 1)
    assert evictor.space().free == 0
    writer.drop()
    assert evictor.space().free == 10 * MIB


async def test_unreadable_blob_stays(store: FileStore) -> None:
    """Too many open files say nothing of a blob. A wrong digest does."""
    path = await _stored(store, BLOB)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert not await store.verify_blob(AREA, BLOB)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert path.exists()
    assert not await store.verify_blob(AREA, BLOB)
    assert not path.exists()


async def test_cancelled_open_closes_the_file(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients leave while a blob of a wrong size is verified."""
    path = await _stored(store, BLOB)
    os.truncate(path, 2)
    ended = threading.Event()
    monkeypatch.setattr("cache.store.file_store.is_sound", lambda *_: ended.wait())
    opening = [asyncio.create_task(store.open_blob(AREA, BLOB)) for _ in range(3)]
    await until_true(lambda: _descriptors(path) == len(opening))
    for task in opening:
        task.cancel()
    found = await asyncio.gather(*opening, return_exceptions=True)
    still_open = _descriptors(path)
    ended.set()
    assert [type(each) for each in found] == [asyncio.CancelledError] * 3
    assert still_open == 0


async def test_one_verification_at_a_time(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """All who ask wait for the same hash. It goes on if a client leaves, and removes the damaged blob."""
    path, ended, hashed = await _stored(store, BLOB), threading.Event(), list[Path]()

    def slow(path: Path, _: Digest) -> bool:
        hashed.append(path)
        ended.wait()
        return False

    monkeypatch.setattr("cache.store.file_store.is_sound", slow)
    asking = [asyncio.create_task(store.verify_blob(AREA, BLOB)) for _ in range(4)]
    await until_true(lambda: hashed)
    asking[0].cancel()
    await asyncio.wait(asking[:1])
    asking.append(asyncio.create_task(store.verify_blob(AREA, BLOB)))
    await asyncio.sleep(0)  # it asks
    ended.set()
    assert await asyncio.gather(*asking[1:]) == [False] * 4
    assert hashed == [path]
    assert not path.exists()


def test_read_error_means_damage() -> None:
    """The first page of a process's memory answers EIO. A file that is absent is not damaged."""
    assert not is_sound(Path("/proc/self/mem"), BLOB)
    with pytest.raises(FileNotFoundError):
        is_sound(Path("/proc/self/none"), BLOB)


async def _stored(store: FileStore, digest: Digest) -> Path:
    """Store a blob of one byte and return its file."""
    writer = await store.create_blob(AREA, digest, 1)
    await store.commit_blob(writer, digest, 1)
    writer.drop()
    return writer.target


def _descriptors(path: Path) -> int:
    return sum(each.resolve() == path for each in Path("/proc/self/fd").iterdir())


def _used_on_disk(root: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())
