"""Serve manifests and tags: ask the upstream for what may have changed, and the store for what cannot."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.content.coalesce import Coalescer
from cache.model.errors import BAD_GATEWAY, NOT_FOUND, RegistryError
from cache.model.manifest import ACCEPTED, Manifest, media_type_in
from cache.model.reference import Digest, Reference, parse_digest
from cache.model.results import Result
from cache.store.store import matches
from cache.upstream.failures import failure_of, is_success, not_a_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache.replicas.peers import Peer, Peers
    from cache.store.store import Store
    from cache.upstream.client import UpstreamClient

MANIFESTS: Final = "manifests"
# Bytes. The specification asks registries to accept 4 MiB; distribution and Docker Hub accept no more.
MANIFEST_MAX: Final = 4 * 1024 * 1024
# Seconds after which a stored tag is served although the upstream has not answered yet. Its answer still counts for the
# next request.
STALE_AFTER: Final = 0.8
# Seconds for one manifest.
FETCH_SECONDS: Final = 30.0
DIGEST_HEADER: Final = "Docker-Content-Digest"
# Statuses with which registries refuse HEAD, although GET works.
_NO_HEAD: Final = frozenset({400, 401, 405, 501})
_REPOSITORIES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Head:
    """The headers of a manifest."""

    digest: Digest
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A manifest, or its head alone, and where it came from."""

    head: Head
    manifest: Manifest | None
    result: Result


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one resource. `is_hop` marks a replica, `only_if_cached` forbids requests to others."""

    reference: Reference
    is_hop: bool = False
    only_if_cached: bool = False


@dataclass(slots=True)
class ManifestService:
    """The manifests of one upstream."""

    area: str
    host: str
    client: UpstreamClient
    store: Store
    peers: Peers
    _tags: Coalescer[Head] = field(default_factory=Coalescer)
    _manifests: Coalescer[Manifest] = field(default_factory=Coalescer)
    _without_head: set[str] = field(default_factory=set)

    async def get(self, request: Request) -> Answer:
        """Return a manifest. Raises RegistryError."""
        answer = await self.head(request)
        if answer.manifest is None:
            reference = request.reference.at(answer.head.digest)
            manifest, joined = await self._fetched(Request(reference, request.is_hop, request.only_if_cached))
            result = Result.JOINED if joined else Result.MISS
            answer = Answer(answer.head, manifest, result)
        if answer.manifest is not None:
            self.store.mark_used(self.area, answer.manifest)
        return answer

    async def head(self, request: Request) -> Answer:
        """Return the head of a manifest, and the manifest too if it is stored. Raises RegistryError."""
        digest = request.reference.digest
        if digest is not None:
            return await self._head_of_digest(request, digest)
        stored = self._stored_tag(request.reference)
        if request.only_if_cached:
            if stored is None:
                raise RegistryError(NOT_FOUND, "The tag is not stored.", "MANIFEST_UNKNOWN")
            return Answer(head_of(stored), stored, Result.STALE)
        try:
            self.client.check(MANIFESTS)
            head, joined = await self._current(request, has_stored=stored is not None)
        except RegistryError as error:
            if not error.is_outage:
                raise
            return await self._stale(request, stored, error)
        manifest = self.store.manifest(self.area, head.digest)
        result = Result.HIT if manifest is not None else Result.JOINED if joined else Result.MISS
        return Answer(head, manifest, result)

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await self._tags.stop()
        await self._manifests.stop()

    async def _head_of_digest(self, request: Request, digest: Digest) -> Answer:
        manifest = self.store.manifest(self.area, digest)
        if manifest is not None:
            return Answer(head_of(manifest), manifest, Result.HIT)
        manifest, joined = await self._fetched(request)
        return Answer(head_of(manifest), manifest, Result.JOINED if joined else Result.MISS)

    def _stored_tag(self, reference: Reference) -> Manifest | None:
        digest = self.store.tag(self.area, reference)
        return self.store.manifest(self.area, digest) if digest is not None else None

    async def _current(self, request: Request, *, has_stored: bool) -> tuple[Head, bool]:
        """Return the head that the tag has now. Raises RegistryError; a timeout counts if there is a stored tag."""
        reference = request.reference
        future, joined = self._tags.join(reference, lambda: self._ask_tag(request))
        try:
            async with asyncio.timeout(STALE_AFTER if has_stored else None):
                return await future, joined
        except TimeoutError:
            raise failure_of(TimeoutError(), self.client.party) from None

    async def _stale(self, request: Request, stored: Manifest | None, error: RegistryError) -> Answer:
        """Return what this replica or another one has stored; raise the error of the upstream if none has it."""
        if stored is None and not request.is_hop:
            reference = request.reference
            try:
                _, headers, content = await self.peers.first("GET", reference.path, self.host)
            except RegistryError:
                raise error from None
            digest = parse_digest(headers.get(DIGEST_HEADER, ""))
            if digest is not None and matches(content, digest):
                stored = await self._keep(content, headers, digest)
                await self.store.put_tag(self.area, reference, digest)
        if stored is None:
            raise error
        return Answer(head_of(stored), stored, Result.STALE)

    async def _ask_tag(self, request: Request) -> Head:
        """Ask the replica that owns the tag, or the upstream. Raises RegistryError."""
        owner = None if request.is_hop else self.peers.owner(f"{self.area} {request.reference.path}")
        head = await self._ask_owner(owner, request.reference) if owner is not None else None
        head = head or await self._ask_upstream(request.reference)
        await self.store.put_tag(self.area, request.reference, head.digest)
        return head

    async def _ask_owner(self, owner: Peer, reference: Reference) -> Head | None:
        try:
            async with owner.ask("HEAD", reference.path, self.host) as response:
                if is_success(response.status):
                    return _head_in(response)
        except RegistryError:
            return None
        return None

    async def _ask_upstream(self, reference: Reference) -> Head:
        if reference.name not in self._without_head:
            head = await self._try_head(reference)
            if head is not None:
                return head
            if len(self._without_head) >= _REPOSITORIES_MAX:
                self._without_head.clear()
            self._without_head.add(reference.name)
        return head_of(await self._fetch(reference))

    async def _try_head(self, reference: Reference) -> Head | None:
        """Return the head, or None if the upstream does not support HEAD. Raises RegistryError."""
        client = self.client
        async with client.ask("HEAD", reference.path, reference.name, _accept(), MANIFESTS) as response:
            if is_success(response.status):
                client.succeeded(MANIFESTS)
                return _head_in(response)
            if response.status in _NO_HEAD:
                return None
            raise client.refused(response, MANIFESTS)

    async def _fetched(self, request: Request) -> tuple[Manifest, bool]:
        """Return a manifest by digest from a replica or the upstream. Raises RegistryError."""
        reference = request.reference
        if request.only_if_cached:
            raise RegistryError(NOT_FOUND, "The manifest is not stored.", "MANIFEST_UNKNOWN")
        future, joined = self._manifests.join(reference.digest, lambda: self._ask_manifest(request))
        return await future, joined

    async def _ask_manifest(self, request: Request) -> Manifest:
        reference, digest = request.reference, request.reference.digest
        owner = None if request.is_hop else self.peers.owner(f"{self.area} {digest}")
        if owner is not None and digest is not None:
            manifest = await self._from_owner(owner, reference, digest)
            if manifest is not None:
                return manifest
        try:
            self.client.check(MANIFESTS)
            return await self._fetch(reference)
        except RegistryError as error:
            if not error.is_outage or request.is_hop or digest is None:
                raise
            return await self._from_any(reference, digest, error)

    async def _from_owner(self, owner: Peer, reference: Reference, digest: Digest) -> Manifest | None:
        try:
            async with owner.ask("GET", reference.path, self.host) as response:
                content = await owner.alive(response.read())
                if is_success(response.status) and matches(content, digest):
                    return await self._keep(content, response.headers, digest)
        except (RegistryError, aiohttp.ClientError):
            return None
        return None

    async def _from_any(self, reference: Reference, digest: Digest, error: RegistryError) -> Manifest:
        try:
            _, headers, content = await self.peers.first("GET", reference.path, self.host)
        except RegistryError:
            raise error from None
        if not matches(content, digest):
            raise error
        return await self._keep(content, headers, digest)

    async def _fetch(self, reference: Reference) -> Manifest:
        """Get a manifest from the upstream by tag or digest, and store it. Raises RegistryError."""
        client = self.client
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                client.ask("GET", reference.path, reference.name, _accept(), MANIFESTS) as response,
            ):
                if not is_success(response.status):
                    raise client.refused(response, MANIFESTS)
                content = await _content_of(response, client.party)
                headers = response.headers
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            failure = failure_of(error, client.party)
            client.failed(MANIFESTS, failure)
            raise failure from error
        digest = reference.digest or digest_of(content, headers)
        if not matches(content, digest):
            raise RegistryError(BAD_GATEWAY, f"{client.party} sent content that does not have its digest.")
        if not headers.get("Content-Type", "").endswith("json") and not media_type_in(content):
            unlike = not_a_registry(client.party, "a manifest that is not JSON")
            client.failed(MANIFESTS, unlike)
            raise unlike
        client.succeeded(MANIFESTS)
        manifest = await self._keep(content, headers, digest)
        if reference.digest is None:
            await self.store.put_tag(self.area, reference, digest)
        return manifest

    async def _keep(self, content: bytes, headers: Mapping[str, str], digest: Digest) -> Manifest:
        media_type = media_type_in(content) or headers.get("Content-Type", "application/octet-stream")
        manifest = Manifest(digest, content, media_type)
        await self.store.put_manifest(self.area, manifest)
        return manifest


def head_of(manifest: Manifest) -> Head:
    """Return the head of a manifest."""
    return Head(manifest.digest, manifest.media_type, len(manifest.content))


def digest_of(content: bytes, headers: Mapping[str, str]) -> Digest:
    """Return the digest of content: that of the header if it is right, else its SHA-256."""
    named = parse_digest(headers.get(DIGEST_HEADER, ""))
    if named is not None and matches(content, named):
        return named
    return Digest("sha256", hashlib.sha256(content).hexdigest())


def _head_in(response: aiohttp.ClientResponse) -> Head | None:
    digest, size = parse_digest(response.headers.get(DIGEST_HEADER, "")), response.content_length
    media_type = response.headers.get("Content-Type", "")
    if digest is None or not size or not media_type or "html" in media_type:
        return None
    return Head(digest, media_type, size)


def _accept() -> dict[str, str]:
    return {"Accept": ", ".join(ACCEPTED)}


async def _content_of(response: aiohttp.ClientResponse, party: str) -> bytes:
    """Read a body of limited size; some upstreams compress it although they were asked not to. Raises RegistryError."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > MANIFEST_MAX:
            raise RegistryError(BAD_GATEWAY, f"{party} sent a manifest of more than {MANIFEST_MAX} bytes.")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return bytes(content)
    if encoding != "gzip":
        raise not_a_registry(party, f"a manifest encoded as {encoding[:20]}")
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(bytes(content), MANIFEST_MAX)
    except zlib.error:
        raise not_a_registry(party, "a manifest that cannot be decompressed") from None
    if inflater.unconsumed_tail:
        raise RegistryError(BAD_GATEWAY, f"{party} sent a manifest of more than {MANIFEST_MAX} bytes.")
    return plain
