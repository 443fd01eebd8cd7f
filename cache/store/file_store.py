"""Keep content of upstreams in files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from typing_extensions import override

from cache.coalesce import Coalescer
from cache.limited_dict import LimitedDict
from cache.model.manifest import INDEXES, Manifest, descriptors_in, has_digest, media_type_in
from cache.model.reference import Digest, parse_digest
from cache.store import files
from cache.store.blob_files import BlobWriter, NoSpaceError, StoredBlob, is_full, is_sound
from cache.store.layout import KINDS, REMOVED, TEMPORARY, Layout, is_area, is_of_former_cache
from cache.store.store import Store
from cache.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from cache.model.reference import Reference
    from cache.store.disk import Disk

# Bytes up to which a piece is hashed and written at once, in 0.1 ms; larger ones take a thread, which costs as much.
_INLINE: Final = 64 * 1024
# Sizes that are remembered: some 20 MB at most.
_SIZES_MAX: Final = 200_000
# Manifests that the use of an index renews. Each has 4 MiB at most; an index names some thirty.
_RENEWED_MAX: Final = 200


@dataclass(slots=True)
class FileStore(Store):
    """A store in a directory.

    `make_room` evicts until so many bytes fit, and returns True if they do. `take` counts bytes of unfinished files. It
    returns False if there is no room for them. `stored` is called with the bytes that were added. A use is noted once
    per `resolution` (seconds).
    """

    root: Path
    disk: Disk
    make_room: Callable[[int], Awaitable[bool]]
    take: Callable[[int], bool]
    stored: Callable[[int], None]
    resolution: float = files.USE_RESOLUTION
    _sizes: LimitedDict[Digest, int] = field(default_factory=lambda: LimitedDict(_SIZES_MAX))
    _used: LimitedDict[tuple[str, Digest], float] = field(default_factory=lambda: LimitedDict(_SIZES_MAX))
    _verifications: Coalescer[bool] = field(default_factory=Coalescer)
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)  # a parsed manifest may take 100 MB
    _layouts: dict[str, Layout] = field(default_factory=dict)
    # Manifests in use: all responses share one copy.
    _manifests: WeakValueDictionary[tuple[str, Digest], Manifest] = field(default_factory=WeakValueDictionary)

    @property
    def temporary(self) -> Path:
        """Return the directory of unfinished files."""
        return self.root / TEMPORARY

    def prepare(self) -> None:
        """Create the directories and remove what an earlier process left unfinished. Raises OSError."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        for path in self.temporary.iterdir():
            if not path.is_dir():
                with contextlib.suppress(OSError):  # a read-only volume still serves
                    path.unlink()

    def retain(self, areas: Iterable[str]) -> None:
        """Put aside the content of all other upstreams, and what other programs left in our directories.

        The next eviction deletes it. That may take minutes, and nothing of it is found any more.
        """
        kept = set(areas)
        for path in self.root.iterdir():
            if path.name in kept:
                for child in path.iterdir():
                    if child.name not in KINDS:
                        self._put_aside(child)
            elif is_area(path.name) or is_of_former_cache(path.name):
                self._put_aside(path)

    def _put_aside(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.rename(self.temporary / f"{REMOVED}{path.name}-{time.monotonic_ns()}")

    @override
    async def open_blob(self, area: str, digest: Digest) -> StoredBlob | None:
        path = self._layout(area).blob(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        found = os.fstat(fd)
        blob = StoredBlob(fd, found.st_size)
        try:
            is_right = stat.S_ISREG(found.st_mode) and await self._has_right_size(area, digest, blob.size)
        except BaseException:  # the client may leave meanwhile
            blob.close()
            raise
        if not is_right:
            blob.close()
            return None
        if abs(time.time() - found.st_mtime) > self.resolution:
            files.mark_used(path, resolution=self.resolution)
        return blob

    async def _has_right_size(self, area: str, digest: Digest, size: int) -> bool:
        """Return True if the size is the expected one, or if the manifest that names another one is wrong."""
        if self._sizes.get(digest, size) == size:
            return True
        sound = await self.verify_blob(area, digest)
        if sound:
            self._sizes[digest] = size
        return sound

    @override
    async def create_blob(self, area: str, digest: Digest, size: int | None) -> BlobWriter:
        try:
            with self.disk.writing():
                writer = await in_thread(lambda: self._new_writer(area, digest), undo=BlobWriter.drop)
        except OSError as error:
            raise NoSpaceError(str(error)) from error
        try:
            await self._reserve(writer, self._sizes.get(digest, 0) if size is None else size)
        except BaseException:
            writer.drop()
            raise
        return writer

    def _new_writer(self, area: str, digest: Digest) -> BlobWriter:
        fd, name = tempfile.mkstemp(dir=self.temporary)
        target, hasher = self._layout(area).blob(digest), hashlib.new(digest.algorithm)
        return BlobWriter(fd, self.temporary / name, target, hasher, self.take)

    async def _reserve(self, writer: BlobWriter, size: int) -> None:
        for is_last in (False, True) if size else ():
            try:
                writer.extend(size)
                with self.disk.writing():
                    await in_thread(partial(os.posix_fallocate, writer.fd, 0, size))
            except OSError as error:
                writer.give_back()
                os.ftruncate(writer.fd, 0)  # a part may be reserved
                if is_last or not is_full(error) or not await self.make_room(size):
                    raise NoSpaceError(str(error)) from error
            else:
                return

    @override
    async def append_blob(self, writer: BlobWriter, piece: bytes, offset: int) -> None:
        writer.extend(offset + len(piece))
        with self.disk.writing():
            if len(piece) <= _INLINE:
                writer.append(piece, offset)
            else:
                await in_thread(partial(writer.append, piece, offset))

    @override
    async def commit_blob(self, writer: BlobWriter, digest: Digest, size: int) -> None:
        with self.disk.writing():
            await in_thread(partial(writer.commit, size))
        self._sizes[digest] = size
        writer.give_back()
        self.stored(size)

    @override
    def manifest(self, area: str, digest: Digest) -> Manifest | None:
        manifest = self._manifests.get((area, digest)) or self._read_manifest(area, digest)
        if manifest is not None:
            self._manifests[area, digest] = manifest
        return manifest

    def _read_manifest(self, area: str, digest: Digest) -> Manifest | None:
        layout = self._layout(area)
        content = files.read_small(layout.manifest(digest))
        if content is None:
            return None
        if not has_digest(content, digest):
            return None  # it is replaced soon
        media_type = media_type_in(content)
        if not media_type:
            media_type = (files.unsealed(files.read_small(layout.media_type(digest))) or b"").decode()
        return Manifest(digest, content, media_type) if media_type else None

    @override
    async def put_manifest(self, area: str, manifest: Manifest) -> None:
        layout = self._layout(area)
        with contextlib.suppress(OSError):
            if media_type_in(manifest.content) != manifest.media_type:
                await self._write(layout.media_type(manifest.digest), files.sealed(manifest.media_type.encode()))
            await self._write(layout.manifest(manifest.digest), manifest.content)

    @override
    def tag(self, area: str, reference: Reference) -> list[Digest]:
        lines = (files.read_small(self._layout(area).tag(reference)) or b"").decode("ascii", "replace").splitlines()
        return [digest for digest in map(parse_digest, lines) if digest is not None]

    @override
    async def put_tag(self, area: str, reference: Reference, digest: Digest) -> None:
        layout, known = self._layout(area), self.tag(area, reference)
        if known[:1] == [digest]:
            self.mark_tag_used(area, reference)
            return
        former = next((each for each in known if each != digest and layout.manifest(each).exists()), None)
        lines = [str(each) for each in (digest, former) if each is not None]
        with contextlib.suppress(OSError):
            await self._write(layout.tag(reference), "\n".join(lines).encode())

    @override
    def mark_tag_used(self, area: str, reference: Reference) -> None:
        files.mark_used(self._layout(area).tag(reference), resolution=self.resolution)

    @override
    def page(self, area: str, key: str) -> bytes | None:
        return files.unsealed(files.read_small(self._layout(area).page(key)))

    @override
    async def put_page(self, area: str, key: str, content: bytes) -> None:
        with contextlib.suppress(OSError):
            await self._write(self._layout(area).page(key), files.sealed(content))

    @override
    async def mark_used(self, area: str, manifest: Manifest) -> None:
        now = time.time()
        if self._is_renewed(area, manifest.digest, now):
            return
        self._used[area, manifest.digest] = now
        async with self._renewing:
            await in_thread(partial(self._renew, area, manifest, now))

    def _is_renewed(self, area: str, digest: Digest, now: float) -> bool:
        return abs(now - self._used.get((area, digest), 0.0)) < self.resolution

    def _renew(self, area: str, manifest: Manifest, now: float) -> None:
        """Renew a manifest, its content, and the manifests of an index. Called in a thread."""
        layout, waiting = self._layout(area), list[Digest]()
        current: Manifest | None = manifest
        for _ in range(_RENEWED_MAX):
            if current is not None:
                self._used[area, current.digest] = now
                files.mark_used(layout.manifest(current.digest), now, self.resolution)
                named = {each.digest: each.size for each in descriptors_in(current.content)}
                for digest, size in named.items():
                    if size is not None and digest not in self._sizes:  # a size that was seen is certain
                        self._sizes[digest] = size
                    files.mark_used(layout.blob(digest), now, self.resolution)
                if current.media_type in INDEXES:
                    waiting += islice(named, _RENEWED_MAX - len(waiting))
            if not waiting:
                return
            digest = waiting.pop()
            current = None if self._is_renewed(area, digest, now) else self._read_manifest(area, digest)

    @override
    async def verify_blob(self, area: str, digest: Digest) -> bool:
        return await self._verifications.join((area, digest), lambda: self._verify(area, digest))[0]

    async def _verify(self, area: str, digest: Digest) -> bool:
        path = self._layout(area).blob(digest)
        try:
            sound = await asyncio.to_thread(is_sound, path, digest)
        except OSError:  # too many open files, for example
            return False
        if not sound:
            self.remove_blob(path)
        return sound

    def remove_blob(self, path: Path) -> None:
        """Remove a damaged blob."""
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            self.stored(-size)

    async def _write(self, path: Path, content: bytes) -> None:
        with self.disk.writing():
            await asyncio.to_thread(files.write_whole, path, content, self.temporary)
        self.stored(len(content))

    def _layout(self, area: str) -> Layout:
        if area not in self._layouts:
            self._layouts[area] = Layout(self.root / area)
        return self._layouts[area]
