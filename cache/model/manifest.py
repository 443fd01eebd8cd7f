"""Read what a manifest says of itself and of other content. Pure."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from cache.model.reference import Digest, parse_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
SIGNED_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
# Lists of manifests, one for each platform.
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
# Characters of a media type: two names of at most 127, and parameters.
_MEDIA_TYPE_MAX: Final = 512
_MANIFEST_TYPE: Final = re.compile(r"application/vnd\..+\+(json|prettyjws)")
# What is asked for: a registry may convert a manifest that is not listed here.
ACCEPTED: Final = (
    OCI_MANIFEST,
    OCI_INDEX,
    DOCKER_MANIFEST,
    DOCKER_INDEX,
    "application/vnd.oci.artifact.manifest.v1+json",
    SIGNED_SCHEMA_1,
    "application/vnd.docker.distribution.manifest.v1+json",
    "*/*",
)


@dataclass(frozen=True, slots=True)
class Head:
    """The headers of a manifest."""

    digest: Digest
    media_type: str
    size: int


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Manifest:
    """A manifest as its bytes. `media_type` is what a client receives."""

    digest: Digest
    content: bytes = field(repr=False)
    media_type: str

    @property
    def head(self) -> Head:
        """Return the headers."""
        return Head(self.digest, self.media_type, len(self.content))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content that a manifest refers to."""

    digest: Digest
    size: int | None


def has_digest(content: bytes, digest: Digest) -> bool:
    """Return True if a manifest has the digest. That of a signed manifest of schema 1 leaves out the signature."""
    return digest.matches(content) or (b'"signatures"' in content and digest.matches(_without_signature(content)))


def is_media_type(text: str) -> bool:
    """Return True if a text may be sent as a media type."""
    return 0 < len(text) <= _MEDIA_TYPE_MAX and text.isascii() and text.isprintable()


def is_manifest(content: bytes, named: str) -> bool:
    """Return True if the content, or the media type that its header names, is that of a manifest.

    A manifest of schema 2 may name no type. The type of an artifact may be unknown.
    """
    if "schemaVersion" in document_in(content):
        return True
    media_types = (media_type_in(content), named.partition(";")[0].rstrip())
    return any(_MANIFEST_TYPE.fullmatch(each) for each in media_types)


def media_type_in(content: bytes) -> str:
    """Return the media type that the content implies; empty if it implies none."""
    document = document_in(content)
    named = document.get("mediaType")
    if isinstance(named, str) and is_media_type(named):
        return named
    if document.get("schemaVersion") == 1:
        return SIGNED_SCHEMA_1 if "signatures" in document else ""
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    return OCI_MANIFEST if "config" in document and isinstance(document.get("layers"), list) else ""


def descriptors_in(content: bytes) -> Iterator[Descriptor]:
    """Yield the configuration, layers, blobs and manifests that a manifest refers to."""
    document = document_in(content)
    listed = [document.get(key) for key in ("layers", "blobs", "manifests", "fsLayers")]
    for each in [document.get("config"), *(one for some in listed if isinstance(some, list) for one in some)]:
        named = each.get("digest", each.get("blobSum")) if isinstance(each, dict) else None
        if isinstance(named, str) and (digest := parse_digest(named)) is not None:
            size = each.get("size")
            yield Descriptor(digest, size if isinstance(size, int) and size >= 0 else None)


def _without_signature(content: bytes) -> bytes:
    """Return the payload of a JSON Web Signature in Docker's format; empty if the content is none."""
    try:
        protected = orjson.loads(_decoded(document_in(content)["signatures"][0]["protected"]))
        return content[: protected["formatLength"]] + _decoded(protected["formatTail"])
    except (LookupError, TypeError, ValueError):
        return b""


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def document_in(content: bytes) -> dict[str, Any]:
    """Return the JSON object that the content is; an empty one for other content."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
