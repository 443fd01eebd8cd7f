"""Serve blobs: from the store, from a download in progress, or from a new one."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.content.download import HOLD_BACK, Download, Downloads
from cache.content.suspicion import Suspicions
from cache.model.errors import BAD_GATEWAY, NOT_FOUND, RegistryError
from cache.replicas.peers import PeerSource
from cache.upstream.failures import failure_of, is_success
from cache.upstream.transfer import BLOBS, Source, UpstreamSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cache.model.reference import Digest, Request
    from cache.replicas.peers import Peers
    from cache.store.blob_files import StoredBlob
    from cache.store.store import Store
    from cache.upstream.client import UpstreamClient

_NO_HEAD: Final = frozenset({400, 401, 403, 405, 501})


@dataclass(slots=True)
class BlobService:
    """The blobs of one upstream."""

    area: str
    host: str
    client: UpstreamClient
    store: Store
    peers: Peers
    downloads: Downloads
    received: Callable[[str, int], None]
    check_space: Callable[[], None]
    suspicions: Suspicions = field(default_factory=Suspicions)

    async def stored(self, digest: Digest, client: str) -> StoredBlob | None:
        """Return a stored blob that `client` (an address) may be sent; None if there is none."""
        if self.suspicions.is_suspect(digest, client, time.monotonic()):
            await self.store.verify_blob(self.area, digest)
        return await self.store.open_blob(self.area, digest)

    def download(self, request: Request, digest: Digest) -> tuple[Download, bool]:
        """Join or begin the download of a blob, and return True if it was in progress. Raises RegistryError."""
        if request.only_if_cached:
            raise RegistryError(NOT_FOUND, "The blob is not stored.", "BLOB_UNKNOWN")
        running = self.downloads.get(self.area, digest)
        self.check_space()
        return running or self.downloads.begin(self._new(request, digest)), running is not None

    async def size(self, request: Request, digest: Digest) -> int | None:
        """Return the size of a blob that is not stored, with a HEAD at the upstream. Raises RegistryError."""
        if self.downloads.get(self.area, digest) is None and not request.only_if_cached:
            client, reference = self.client, request.reference
            client.check(BLOBS)
            async with client.ask("HEAD", reference.path, reference.name, BLOBS) as response:
                if is_success(response.status) and response.content_length is not None:
                    client.succeeded(BLOBS)
                    return response.content_length
                if not is_success(response.status) and response.status not in _NO_HEAD:
                    raise client.refused(response, BLOBS)
        download, _ = self.download(request, digest)
        await download.settled()
        return download.size

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await self.downloads.stop(self.area)

    def _new(self, request: Request, digest: Digest) -> Download:
        def sources(failed: set[str]) -> Source | None:
            return self._source(request, digest, failed)

        slots = self.downloads.slots
        return Download(self.area, request.reference, digest, self.store, sources, self.received, slots)

    def _source(self, request: Request, digest: Digest, failed: set[str]) -> Source | None:
        """Return where to fetch next: the owner, the upstream, then every replica that has the blob stored."""
        owner = None if request.is_hop else self.peers.owner(f"{self.area} {digest}")
        if owner is not None and (source := PeerSource(owner, self.host, only_if_cached=False)).name not in failed:
            return source
        upstream = UpstreamSource(self.client)
        if upstream.name not in failed:
            return upstream
        if not request.is_hop:
            for peer in self.peers.others():
                if (source := PeerSource(peer, self.host, only_if_cached=True)).name not in failed:
                    return source
        return None

    @asynccontextmanager
    async def unstored(
        self, request: Request, digest: Digest
    ) -> AsyncIterator[tuple[int | None, AsyncIterator[bytes]]]:
        """Open a blob at the upstream for one client: the volume has no room for it. Raises RegistryError."""
        try:
            async with UpstreamSource(self.client).open(request.reference, 0) as transfer:
                yield transfer.size, _verified(transfer.read, digest, self.received)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise failure_of(error, self.client.party) from error


async def _verified(
    read: Callable[[], Awaitable[bytes]], digest: Digest, received: Callable[[str, int], None]
) -> AsyncIterator[bytes]:
    """Yield a body; hold its end back until the digest is verified. Raises RegistryError."""
    hasher, held, size = hashlib.new(digest.algorithm), deque[bytes](), 0
    while piece := await read():
        received("upstream", len(piece))
        await asyncio.to_thread(hasher.update, piece)
        held.append(piece)
        size += len(piece)
        while held and size - len(held[0]) >= HOLD_BACK:
            size -= len(held[0])
            yield held.popleft()
    if hasher.hexdigest() != digest.hex:
        raise RegistryError(BAD_GATEWAY, "The content does not have its digest.")
    for piece in held:
        yield piece
