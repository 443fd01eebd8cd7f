"""Serve manifests and tags: ask the upstream for what may have changed, and the store for what cannot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache.coalesce import Coalescer
from cache.content.manifest_sources import MANIFESTS, STALE_AFTER, ManifestSources
from cache.model.errors import BAD_GATEWAY, NOT_FOUND, RegistryError
from cache.model.results import Result
from cache.upstream.failures import failure_of

if TYPE_CHECKING:
    from cache.model.manifest import Head, Manifest
    from cache.model.reference import Digest, Request


@dataclass(frozen=True, slots=True)
class Answer:
    """A manifest, or its head alone, and where it came from."""

    head: Head
    manifest: Manifest | None
    result: Result


@dataclass(slots=True)
class ManifestService:
    """The manifests of one upstream."""

    sources: ManifestSources
    _tags: Coalescer[tuple[Head, Result]] = field(default_factory=Coalescer)
    _manifests: Coalescer[tuple[Manifest, Result]] = field(default_factory=Coalescer)
    _late: Coalescer[None] = field(default_factory=Coalescer)

    async def get(self, request: Request) -> Answer:
        """Return a manifest. Raises RegistryError."""
        answer = await self._find(request)
        if answer.manifest is None:
            try:
                answer = await self._fetched(request, answer.head.digest)
            except RegistryError as error:
                if error.status != NOT_FOUND or request.only_if_cached:
                    raise
                # The upstream named a digest that it does not have. From now on it is asked for the content instead.
                answer = await self._find(request)
        if answer.manifest is None:  # and the volume stores nothing
            party = self.sources.client.party
            raise RegistryError(BAD_GATEWAY, f"{party} names a digest that it does not have.")
        await self._mark_used(answer)
        return answer

    async def head(self, request: Request) -> Answer:
        """Return the head of a manifest, and the manifest too if it is stored. Raises RegistryError."""
        answer = await self._find(request)
        await self._mark_used(answer)
        return answer

    async def _mark_used(self, answer: Answer) -> None:
        if answer.manifest is not None:
            await self.sources.store.mark_used(self.sources.area, answer.manifest)

    async def _find(self, request: Request) -> Answer:
        digest = request.reference.digest
        if digest is not None:
            manifest = self._stored(digest)
            return Answer(manifest.head, manifest, Result.HIT) if manifest else await self._fetched(request, digest)
        digests = self.sources.store.tag(self.sources.area, request.reference)
        stored = next(filter(None, map(self._stored, digests)), None)
        if request.only_if_cached:
            if stored is None:
                raise RegistryError(NOT_FOUND, "The tag is not stored.", "MANIFEST_UNKNOWN")
            return Answer(stored.head, stored, Result.STALE)
        try:
            self.sources.client.check(MANIFESTS, request.reference.name)
            return await self._current(request, stored)
        except RegistryError as error:
            # A replica that asks has a tag of its own, which may be newer.
            stale = await self._stale(request, digests) if error.is_outage and not request.is_hop else None
            if stale is None:
                raise
            self.sources.store.mark_tag_used(self.sources.area, request.reference)
            return Answer(stale.head, stale, Result.STALE)

    async def stop(self) -> None:
        """Cancel what is in progress."""
        for each in (self._late, self._tags, self._manifests):
            await each.stop()

    def _stored(self, digest: Digest) -> Manifest | None:
        return self.sources.store.manifest(self.sources.area, digest)

    async def _stale(self, request: Request, digests: list[Digest]) -> Manifest | None:
        """Return the last manifest of a tag that this replica or another one has stored; None if none has one."""
        for digest in digests:
            manifest = self._stored(digest) or await self.sources.stored_elsewhere(request.at(digest))
            if manifest is not None:
                return manifest
        return await self.sources.stored_elsewhere(request)

    async def _current(self, request: Request, stored: Manifest | None) -> Answer:
        """Return what the tag is now. Raises RegistryError; a timeout counts if there is a stored tag."""
        future, joined = self._tags.join(request.reference, lambda: self.sources.tag(request))
        try:
            async with asyncio.timeout(STALE_AFTER if stored else None):
                head, result = await future
        except TimeoutError:
            self._late.join(request.reference, lambda: self._follow(request))[0].cancel()  # the task goes on
            raise failure_of(TimeoutError(), self.sources.client.party) from None
        manifest = stored if stored and stored.digest == head.digest else self._stored(head.digest)
        if manifest is not None:
            return Answer(manifest.head, manifest, Result.HIT)
        return Answer(head, None, Result.JOINED if joined else result)

    async def _follow(self, request: Request) -> None:
        """Get the manifest that a late answer names. An upstream that is always late would never change a tag."""
        head, _ = await self._tags.join(request.reference, lambda: self.sources.tag(request))[0]
        if self._stored(head.digest) is None:
            await self._fetched(request, head.digest)

    async def _fetched(self, request: Request, digest: Digest) -> Answer:
        """Return a manifest by digest from a replica or the upstream. Raises RegistryError."""
        if request.only_if_cached:
            raise RegistryError(NOT_FOUND, "The manifest is not stored.", "MANIFEST_UNKNOWN")
        wanted = request.at(digest)
        # By repository: the upstream may refuse one and not another.
        future, joined = self._manifests.join(wanted.reference, lambda: self.sources.manifest(wanted, digest))
        manifest, result = await future
        return Answer(manifest.head, manifest, Result.JOINED if joined else result)
