"""Define what the cache needs of a store. `FileStore` is the one implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cache.model.manifest import Manifest
    from cache.model.reference import Digest, Reference
    from cache.store.blob_files import BlobWriter, StoredBlob


class Store(Protocol):
    """The interface of a store. `area` is the directory name of an upstream."""

    async def open_blob(self, area: str, digest: Digest) -> StoredBlob | None:
        """Return a stored blob, or None."""

    async def create_blob(self, area: str, digest: Digest, size: int | None) -> BlobWriter:
        """Reserve space and return a writer. Raises NoSpaceError."""

    async def append_blob(self, writer: BlobWriter, piece: bytes, offset: int) -> None:
        """Hash and write the next bytes. Raises OSError."""

    async def commit_blob(self, writer: BlobWriter, digest: Digest, size: int) -> None:
        """Make a verified blob part of the store. Raises OSError."""

    def manifest(self, area: str, digest: Digest) -> Manifest | None:
        """Return a stored manifest, or None."""

    async def put_manifest(self, area: str, manifest: Manifest) -> None:
        """Store a manifest; an error of the disk is ignored."""

    def tag(self, area: str, reference: Reference) -> list[Digest]:
        """Return the digests that a tag had, the last one first; at most two."""

    async def put_tag(self, area: str, reference: Reference, digest: Digest) -> None:
        """Store the digest of a tag; keep the former one if its manifest is stored. An error of the disk is ignored."""

    def mark_tag_used(self, area: str, reference: Reference) -> None:
        """Renew a tag that the upstream cannot confirm."""

    def page(self, area: str, key: str) -> bytes | None:
        """Return a stored page of referrers, or None."""

    async def put_page(self, area: str, key: str, content: bytes) -> None:
        """Store a page of referrers; an error of the disk is ignored."""

    async def mark_used(self, area: str, manifest: Manifest) -> None:
        """Renew a manifest and all content that it refers to."""

    async def verify_blob(self, area: str, digest: Digest) -> bool:
        """Hash a stored blob; remove it and return False if it is damaged. Return False if it cannot be read.

        Callers of the same moment share one hash, which goes on if they leave.
        """
