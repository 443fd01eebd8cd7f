"""List the images of one upstream, and remove one, beside a running cache.

The directory is the truth, and each file is whole or absent. So another process may remove files at any time. The cache
fetches them again on demand, and a response in progress keeps its open file.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cache.model.manifest import DOCKER_INDEX, OCI_INDEX, descriptors_in, media_type_in
from cache.model.reference import Digest, Kind, Reference, parse_digest
from cache.store import files
from cache.store.layout import TAGS, Layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A tag, or a manifest without a tag: then `repository` and `tag` are empty.

    `used` is the last use in seconds since the epoch. `missing` is the number of blobs that are not stored.
    """

    repository: str
    tag: str
    digest: Digest
    size: int
    used: float
    missing: int


@dataclass(slots=True)
class Inventory:
    """The content of one upstream at one moment."""

    layout: Layout
    tags: dict[Reference, list[Digest]] = field(default_factory=dict)
    manifests: dict[Digest, frozenset[Digest]] = field(default_factory=dict)
    indexes: set[Digest] = field(default_factory=set)

    @classmethod
    def of(cls, layout: Layout) -> Inventory:
        """Read all tags and manifests."""
        found = cls(layout, dict(_tags(layout)))
        for digest, path in _by_digest(layout.directory / "manifests"):
            content = files.read_small(path) or b""
            found.manifests[digest] = frozenset(each.digest for each in descriptors_in(content))
            if media_type_in(content) in INDEXES:
                found.indexes.add(digest)
        return found

    def images(self) -> list[StoredImage]:
        """Return all tags, then the manifests without a tag or an index."""
        tagged = [
            self._image(digests[0], reference.name, reference.reference)
            for reference, digests in sorted(self.tags.items(), key=lambda each: each[0].path)
            if digests and digests[0] in self.manifests
        ]
        named = {digest for digests in self.tags.values() for digest in digests}
        named = named.union(*self.manifests.values())
        return tagged + [self._image(digest) for digest in sorted(self.manifests.keys() - named, key=str)]

    def remove(self, references: Iterable[Reference], digests: Iterable[Digest]) -> list[int]:
        """Remove tags and digests, and content without another reference. Return the sizes of the removed files."""
        gone, named = set(references), set(digests)
        gone |= {reference for reference, found in self.tags.items() if found and found[0] in named}
        roots = named | {digest for reference in gone for digest in self.tags.get(reference, ())}
        kept_tags = {digest for reference, found in self.tags.items() if reference not in gone for digest in found}
        doomed = self._closure(roots)
        kept = self._closure((kept_tags | (self.manifests.keys() - doomed)) - named)
        paths = [self.layout.tag(reference) for reference in gone]
        for digest in (doomed - kept) | named:
            paths += [self.layout.manifest(digest), self.layout.media_type(digest), self.layout.blob(digest)]
        return [size for size in map(_unlink, paths) if size is not None]

    def _image(self, digest: Digest, repository: str = "", tag: str = "") -> StoredImage:
        closure = self._closure({digest})
        found = [each for each in map(self._stat, closure) if each is not None]
        # An index names manifests of platforms that no node has pulled.
        needed = {blob for each in closure - self.indexes for blob in self.manifests.get(each, ())}
        missing = sum(self._stat(each) is None for each in needed)
        size, used = sum(each[0] for each in found), max((each[1] for each in found), default=0.0)
        return StoredImage(repository, tag, digest, size, used, missing)

    def _stat(self, digest: Digest) -> tuple[int, float] | None:
        """Return size and last use of a stored blob or manifest."""
        for path in (self.layout.blob(digest), self.layout.manifest(digest)):
            with contextlib.suppress(OSError):
                found = path.stat()
                return found.st_size, found.st_mtime
        return None

    def _closure(self, roots: Iterable[Digest]) -> set[Digest]:
        """Return the digests, and the content of their manifests."""
        found, open_digests = set[Digest](), list(roots)
        while open_digests:
            digest = open_digests.pop()
            if digest not in found:
                found.add(digest)
                open_digests += self.manifests.get(digest, ())
        return found


def _by_digest(folder: Path) -> Iterator[tuple[Digest, Path]]:
    for path in folder.glob("*/*/*"):
        digest = parse_digest(f"{path.parts[-3]}:{path.name}")
        if digest is not None:
            yield digest, path


def _tags(layout: Layout) -> Iterator[tuple[Reference, list[Digest]]]:
    root = layout.directory / "tags"
    for path in root.rglob(f"{TAGS}/*"):
        name = "/".join(path.relative_to(root).parts[:-2])
        lines = (files.read_small(path) or b"").decode("ascii", "replace").splitlines()
        yield (
            Reference(Kind.MANIFEST, name, path.name),
            [digest for digest in map(parse_digest, lines) if digest is not None],
        )


def _unlink(path: Path) -> int | None:
    """Remove a file and return its size; None if there is none."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return None
    return size
