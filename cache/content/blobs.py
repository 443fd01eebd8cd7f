"""Serve blobs: from the store, from a download in progress, or from a new one."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cache.content.download import Download, Downloads
from cache.content.passed_blob import PassedBlob
from cache.content.suspicion import Suspicions
from cache.model.errors import FORBIDDEN, NOT_FOUND, RegistryError
from cache.replicas.peers import PeerSource
from cache.store.blob_files import NoSpaceError
from cache.upstream.failures import NO_HEAD, is_success
from cache.upstream.transfer import BLOBS, Source, UpstreamSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cache.model.reference import Digest, Reference, Request
    from cache.replicas.peers import Peers
    from cache.store.blob_files import StoredBlob
    from cache.store.store import Store
    from cache.upstream.client import UpstreamClient

_NO_HEAD_OF_BLOBS: Final = NO_HEAD | {FORBIDDEN}


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

    async def stored(self, digest: Digest, client: str, *, is_whole: bool = True) -> StoredBlob | None:
        """Return a stored blob that `client` (an address) may be sent; None if there is none.

        `is_whole` is True if the client begins with the first byte. It may have refused the blob before.
        """
        if is_whole and self.suspicions.is_suspect(digest, client, time.monotonic()):
            await self.store.verify_blob(self.area, digest)
            self.suspicions.verified(digest, time.monotonic())
        return await self.store.open_blob(self.area, digest)

    def download(self, request: Request, digest: Digest) -> tuple[Download, bool]:
        """Join or begin the download of a blob, and return True if it was in progress.

        Raises RegistryError, and NoSpaceError if it did not fit a moment ago.
        """
        if request.only_if_cached:
            raise RegistryError(NOT_FOUND, "The blob is not stored.", "BLOB_UNKNOWN")
        self.downloads.check(self.area, digest)
        running = self.downloads.get(self.area, digest)
        self.check_space()
        return running or self.downloads.begin(self._new(request, digest)), running is not None

    @asynccontextmanager
    async def reading(self, request: Request, digest: Digest) -> AsyncIterator[tuple[Download, StoredBlob, bool]]:
        """Join or begin a download. Yield it with a descriptor, and True if it was in progress.

        After the refusal of another repository, begin with that of the request. Raises RegistryError and NoSpaceError.
        """
        async with AsyncExitStack() as stack:
            while True:
                download, joined = self.download(request, digest)
                try:
                    blob = await stack.enter_async_context(download.reading())
                except RegistryError as error:
                    if error.is_outage or not joined or download.reference.name == request.reference.name:
                        raise
                else:
                    yield download, blob, joined
                    return

    async def size(self, request: Request, digest: Digest) -> int | None:
        """Return the size of a blob that is not stored; None if it is unknown. Raises RegistryError.

        Ask the upstream with a HEAD, and the replicas in an outage. Download the blob if the upstream refuses HEAD.
        """
        if self.downloads.get(self.area, digest) is None and not request.only_if_cached:
            try:
                size = await self._size_at_upstream(request.reference)
            except RegistryError as error:
                if not error.is_outage:
                    raise
                return await self._size_at_replicas(request, digest, error)
            if size is not None:
                return size
        try:
            async with self.reading(request, digest) as (download, _, _):
                return download.size
        except NoSpaceError:
            return None

    async def _size_at_upstream(self, reference: Reference) -> int | None:
        """Return the size; None if the upstream does not support HEAD. Raises RegistryError."""
        client = self.client
        client.check(BLOBS, reference.name)
        async with client.ask("HEAD", reference.path, reference.name, BLOBS) as response:
            if is_success(response.status) and response.content_length is not None:
                client.succeeded(BLOBS)
                return response.content_length
            if not is_success(response.status) and response.status not in _NO_HEAD_OF_BLOBS:
                raise client.refused(response, BLOBS, reference.name)
        return None

    async def _size_at_replicas(self, request: Request, digest: Digest, outage: RegistryError) -> int | None:
        """Return the size that the first replica with the blob names. Raises `outage` if none has it."""
        sources, failed = self._sources(request, digest), {UpstreamSource(self.client).name}
        while (source := sources(failed)) is not None:
            try:
                async with source.open(request.reference, 0) as transfer:
                    return transfer.size
            except RegistryError:
                failed.add(source.name)
        raise outage

    def passed(self, request: Request, digest: Digest, send: Callable[[bytes], Awaitable[None]]) -> PassedBlob:
        """Return a blob that is sent to one client, because the volume has no room for it."""
        return PassedBlob(
            reference=request.reference,
            digest=digest,
            sources=self._sources(request, digest),
            received=self.received,
            send=send,
        )

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await self.downloads.stop(self.area)

    def _new(self, request: Request, digest: Digest) -> Download:
        return Download(
            area=self.area,
            reference=request.reference,
            digest=digest,
            store=self.store,
            sources=self._sources(request, digest),
            received=self.received,
            slots=self.downloads.slots(self.area),
        )

    def _sources(self, request: Request, digest: Digest) -> Callable[[set[str]], Source | None]:
        return lambda failed: self._source(request, digest, failed)

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
