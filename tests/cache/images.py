"""Build images: blobs, manifests, indexes and tags."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Images:
    """The content of a registry."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.referrers: dict[str, Json] = {}

    def push(self, name: str, tag: str = "latest", layers: tuple[int, ...] = (1000,)) -> tuple[str, list[str]]:
        """Add an image with layers of random bytes; return the digest of its manifest and those of its blobs."""
        digests = [self.add_blob(each) for each in (_configuration(name, tag), *map(os.urandom, layers))]
        digest = self.add_image(digests)
        self.tags[name, tag] = digest
        return digest, digests

    def add_image(self, blobs: list[str], layer_type: str = "x", **more: object) -> str:
        """Add the manifest of a configuration and layers; return its digest."""
        described = [{"mediaType": layer_type, "digest": each, "size": len(self.blobs[each])} for each in blobs]
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:], **more}
        return self.add_manifest(json.dumps(document).encode(), MANIFEST)

    def add_index(self, digests: Iterable[str], **more: object) -> str:
        """Add an index of manifests; return its digest."""
        described = [
            {"mediaType": self.manifests[each][1], "digest": each, "size": len(self.manifests[each][0])}
            for each in digests
        ]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": described, **more}
        return self.add_manifest(json.dumps(document).encode(), INDEX)

    def add_blob(self, content: bytes, algorithm: str = "sha256") -> str:
        """Add a blob and return its digest."""
        digest = digest_of(content, algorithm)
        self.blobs[digest] = content
        return digest

    def add_manifest(self, content: bytes, media_type: str, algorithm: str = "sha256") -> str:
        """Add a manifest and return its digest."""
        digest = digest_of(content, algorithm)
        self.manifests[digest] = (content, media_type)
        return digest


def _configuration(name: str, tag: str) -> bytes:
    return json.dumps({"name": name, "tag": tag}).encode()


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def has_digest(content: bytes, digest: str) -> bool:
    """Return True if the content has the digest. That of signed content of schema 1 leaves out the signature."""
    algorithm = digest.partition(":")[0]
    if b'"signatures"' in content:
        protected = _decoded(json.loads(content)["signatures"][0]["protected"])
        content = content[: json.loads(protected)["formatLength"]] + _decoded(json.loads(protected)["formatTail"])
    return digest_of(content, algorithm) == digest


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def blobs_of(document: Json) -> list[str]:
    """Return the digests of all blobs of a manifest, that of the configuration first."""
    configuration = [document["config"]] if "config" in document else []
    described = configuration + document.get("layers", []) + document.get("blobs", [])
    return [each["digest"] for each in described] + [each["blobSum"] for each in document.get("fsLayers", [])]
