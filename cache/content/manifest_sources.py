"""Get manifests and tags from the upstream or another replica, and store them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp

from cache.limited_dict import LimitedDict
from cache.model.errors import BAD_GATEWAY, NOT_FOUND, RegistryError
from cache.model.manifest import ACCEPTED, Head, Manifest, has_digest, is_manifest, is_media_type, media_type_in
from cache.model.reference import DIGEST_HEADER, Digest, Reference, Request, parse_digest
from cache.model.results import Result
from cache.upstream.body import read_body
from cache.upstream.failures import NO_HEAD, failure_of, is_success, not_a_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache.replicas.peers import Peer, Peers
    from cache.store.store import Store
    from cache.upstream.client import UpstreamClient

T = TypeVar("T")

MANIFESTS: Final = "manifests"
# Bytes. The specification asks registries to accept 4 MiB; distribution and Docker Hub accept no more.
MANIFEST_MAX: Final = 4 * 1024 * 1024
# Seconds after which a stored tag or page is served although the upstream has not answered yet. The next request gets
# what it answered.
STALE_AFTER: Final = 0.8
# Seconds for one manifest.
FETCH_SECONDS: Final = 30.0
_KNOWN_MAX: Final = 10_000
# Seconds for which one answer decides about HEAD. Each GET in its place counts as a pull at Docker Hub.
KNOWN_SECONDS: Final = 3600.0
_ACCEPT: Final = {"Accept": ", ".join(ACCEPTED)}


@dataclass(slots=True)
class ManifestSources:
    """Get the manifests of one upstream."""

    area: str
    host: str
    client: UpstreamClient
    store: Store
    peers: Peers
    # Repositories by what is known of HEAD, and digests that it named, with the end of that knowledge.
    _without_head: LimitedDict[str, float] = field(default_factory=lambda: LimitedDict(_KNOWN_MAX))
    _with_wrong_head: LimitedDict[str, float] = field(default_factory=lambda: LimitedDict(_KNOWN_MAX))
    _named: LimitedDict[tuple[str, Digest], float] = field(default_factory=lambda: LimitedDict(_KNOWN_MAX))

    async def tag(self, request: Request) -> tuple[Head, Result]:
        """Ask the replica that owns a tag, or the upstream, what the tag is now. Raises RegistryError."""
        reference, result = request.reference, Result.PEER
        alone = request.is_hop or _knows(self._with_wrong_head, reference.name)
        owner = None if alone else self.peers.owner(f"{self.area} {reference.path}")
        head = await self._tag_of_owner(owner, reference) if owner is not None else None
        if head is None:
            head, result = await self._tag_of_upstream(reference), Result.MISS
        _add(self._named, (reference.name, head.digest))
        await self.store.put_tag(self.area, reference, head.digest)
        return head, result

    async def manifest(self, request: Request, digest: Digest) -> tuple[Manifest, Result]:
        """Ask the replica that owns a manifest, the upstream, and then all replicas. Raises RegistryError."""
        reference = request.reference
        owner = None if request.is_hop else self.peers.owner(f"{self.area} {digest}")
        manifest = await self._manifest_of_owner(owner, reference, digest) if owner is not None else None
        if manifest is not None:
            return manifest, Result.PEER
        try:
            self.client.check(MANIFESTS, reference.name)
            return await self._fetch(reference), Result.MISS
        except RegistryError as error:
            if error.status == NOT_FOUND and _knows(self._named, (reference.name, digest)):
                _add(self._with_wrong_head, reference.name)
            manifest = await self.stored_elsewhere(request) if error.is_outage else None
            if manifest is None:
                raise
            return manifest, Result.PEER

    async def stored_elsewhere(self, request: Request) -> Manifest | None:
        """Return what another replica has stored; None if none has it."""
        if request.is_hop:
            return None
        reference = request.reference
        async for peer, headers, content in self.peers.stored(reference.path, self.host, MANIFEST_MAX):
            digest = reference.digest or parse_digest(headers.get(DIGEST_HEADER, ""))
            if digest is not None and has_digest(content, digest):
                return await self._keep(reference, content, headers, digest)
            peer.pause()
        return None

    async def _tag_of_owner(self, owner: Peer, reference: Reference) -> Head | None:
        try:
            async with owner.ask("HEAD", reference.path, self.host) as response:
                return _head_in(response) if is_success(response.status) else None
        except RegistryError:
            return None

    async def _manifest_of_owner(self, owner: Peer, reference: Reference, digest: Digest) -> Manifest | None:
        try:
            async with owner.ask("GET", reference.path, self.host) as response:
                if not is_success(response.status):
                    return None
                content = await owner.alive(read_body(response, MANIFEST_MAX, owner.party))
                headers = response.headers
        except RegistryError:
            return None
        if has_digest(content, digest):
            return await self._keep(reference, content, headers, digest)
        owner.pause()
        return None

    async def _tag_of_upstream(self, reference: Reference) -> Head:
        if _knows(self._without_head, reference.name) or _knows(self._with_wrong_head, reference.name):
            return (await self._fetch(reference)).head
        head = await self._try_head(reference)
        if head is not None:
            return head
        manifest = await self._fetch(reference)
        _add(self._without_head, reference.name)
        return manifest.head

    async def _try_head(self, reference: Reference) -> Head | None:
        """Return the head, or None if the upstream does not support HEAD. Raises RegistryError."""
        client = self.client
        async with client.ask("HEAD", reference.path, reference.name, MANIFESTS, _ACCEPT) as response:
            if is_success(response.status):
                client.succeeded(MANIFESTS)
                return _head_in(response)
            if response.status in NO_HEAD:
                return None
            raise client.refused(response, MANIFESTS, reference.name)

    async def _fetch(self, reference: Reference) -> Manifest:
        """Get a manifest from the upstream by tag or digest, and store it. Raises RegistryError."""
        client = self.client
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                client.ask("GET", reference.path, reference.name, MANIFESTS, _ACCEPT) as response,
            ):
                if not is_success(response.status):
                    raise client.refused(response, MANIFESTS, reference.name)
                content, headers = await read_body(response, MANIFEST_MAX, client.party), response.headers
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            failure = failure_of(error, client.party)
            client.failed(MANIFESTS, failure)
            raise failure from error
        if not is_manifest(content, headers.get("Content-Type", "")):
            unlike = not_a_registry(client.party, "content that is not a manifest")
            client.failed(MANIFESTS, unlike, reference.name)
            raise unlike
        digest = reference.digest or digest_of(content, headers)
        if not has_digest(content, digest):
            raise RegistryError(BAD_GATEWAY, f"{client.party} sent content that does not have its digest.")
        client.succeeded(MANIFESTS)
        return await self._keep(reference, content, headers, digest)

    async def _keep(self, reference: Reference, content: bytes, headers: Mapping[str, str], digest: Digest) -> Manifest:
        named = headers.get("Content-Type", "")
        media_type = media_type_in(content) or (named if is_media_type(named) else "application/octet-stream")
        manifest = Manifest(digest, content, media_type)
        await self.store.put_manifest(self.area, manifest)
        if reference.digest is None:
            await self.store.put_tag(self.area, reference, digest)
        return manifest


def _knows(known: dict[T, float], key: T) -> bool:
    return time.monotonic() < known.get(key, 0.0)


def _add(known: dict[T, float], key: T) -> None:
    known[key] = time.monotonic() + KNOWN_SECONDS


def digest_of(content: bytes, headers: Mapping[str, str]) -> Digest:
    """Return the digest of content: that of the header if it is right, else its SHA-256."""
    named = parse_digest(headers.get(DIGEST_HEADER, ""))
    if named is not None and has_digest(content, named):
        return named
    return Digest("sha256", hashlib.sha256(content).hexdigest())


def _head_in(response: aiohttp.ClientResponse) -> Head | None:
    digest, size = parse_digest(response.headers.get(DIGEST_HEADER, "")), response.content_length
    media_type = response.headers.get("Content-Type", "")
    is_compressed = response.headers.get("Content-Encoding", "identity") != "identity"  # the size is not the content's
    if digest is None or not size or is_compressed or not is_media_type(media_type) or "html" in media_type:
        return None
    return Head(digest, media_type, size)
