"""Build one example of each kind of content that registries hold."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

from tests.cache.images import INDEX, MANIFEST, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.images import Images

DOCKER = "application/vnd.docker.distribution.manifest"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
ZSTD_MAGIC = bytes.fromhex("28b52ffd")


def index_in_index(images: Images) -> str:
    """Return the digest of an index that holds an index."""
    return images.add_index([images.add_index([images.push("a")[0]])])


def attestations(images: Images) -> str:
    """Return the digest of an index as BuildKit writes it: an image, and what attests it."""
    image, _ = images.push("a")
    statements = images.add_blob(b'{"_type": "https://in-toto.io/Statement/v0.1"}')
    attesting = images.add_image([images.add_blob(b'{"architecture": "unknown"}'), statements], "application/json")
    return images.add_index(
        [image, attesting],
        annotations={"vnd.docker.reference.digest": image, "vnd.docker.reference.type": "attestation-manifest"},
    )


def zstd(images: Images) -> str:
    """Return the digest of an image with a layer of Zstandard."""
    blobs = [images.add_blob(b"{}"), images.add_blob(ZSTD_MAGIC + os.urandom(200_000))]
    return images.add_image(blobs, "application/vnd.oci.image.layer.v1.tar+zstd")


def artifact(images: Images) -> str:
    """Return the digest of an artifact manifest, which has blobs in place of layers."""
    blob = images.add_blob(os.urandom(1000))
    blobs = [{"mediaType": "text/plain", "digest": blob, "size": 1000}]
    return images.add_manifest(json.dumps({"mediaType": ARTIFACT, "blobs": blobs}).encode(), ARTIFACT)


def signature(images: Images) -> str:
    """Return the digest of an image manifest that refers to another image and has an empty configuration."""
    subject, _ = images.push("a")
    blobs = [images.add_blob(b"{}"), images.add_blob(os.urandom(100))]
    return images.add_image(blobs, artifactType="application/vnd.example.signature", subject={"digest": subject})


def docker(images: Images) -> str:
    """Return the digest of a Docker manifest list."""
    layer = images.add_blob(os.urandom(1000))
    described = {"mediaType": "x", "digest": layer, "size": 1000}
    image = {"schemaVersion": 2, "mediaType": f"{DOCKER}.v2+json", "config": described, "layers": [described]}
    digest = images.add_manifest(json.dumps(image).encode(), f"{DOCKER}.v2+json")
    listed = [{"mediaType": f"{DOCKER}.v2+json", "digest": digest, "size": len(images.manifests[digest][0])}]
    document = {"schemaVersion": 2, "mediaType": f"{DOCKER}.list.v2+json", "manifests": listed}
    return images.add_manifest(json.dumps(document).encode(), f"{DOCKER}.list.v2+json")


def schema_1(images: Images) -> str:
    """Return the digest of a manifest of schema 1 without a signature."""
    return images.add_manifest(_schema_1(images), f"{DOCKER}.v1+json")


def signed_schema_1(images: Images) -> str:
    """Return the digest of a signed manifest of schema 1: it is that of the content without the signature."""
    payload = _schema_1(images)
    head, tail = payload[:-2], payload[-2:]  # the signature is inserted before the last brace
    protected = {"formatLength": len(head), "formatTail": base64.urlsafe_b64encode(tail).decode().rstrip("=")}
    encoded = base64.urlsafe_b64encode(json.dumps(protected).encode()).decode().rstrip("=")
    signatures = json.dumps([{"header": {"alg": "ES256"}, "signature": "x", "protected": encoded}], indent=3)
    content = head + b',\n   "signatures": ' + signatures.encode() + tail
    digest = digest_of(payload)
    images.manifests[digest] = (content, f"{DOCKER}.v1+prettyjws")
    return digest


def _schema_1(images: Images) -> bytes:
    layers = [{"blobSum": images.add_blob(os.urandom(1000))} for _ in range(2)]
    return json.dumps({"schemaVersion": 1, "name": "a", "tag": "latest", "fsLayers": layers}, indent=3).encode()


def large(images: Images) -> str:
    """Return the digest of a manifest of 3.9 MiB, just below the limit."""
    blobs = [images.add_blob(b"{}"), images.add_blob(b"layer")]
    return images.add_image(blobs, annotations={"x": "y" * int(3.9 * 1024 * 1024)})


def empty(images: Images) -> str:
    """Return the digest of an image with an empty layer."""
    return images.add_image([images.add_blob(b"{}"), images.add_blob(b"")])


def untyped(images: Images) -> str:
    """Return the digest of an image whose manifest does not name its type."""
    return images.add_manifest(b'{"schemaVersion": 2, "manifests": []}', INDEX)


def unknown(images: Images) -> str:
    """Return the digest of a manifest of a type that is yet to be defined."""
    return images.add_manifest(b'{"schemaVersion": 3, "other": 1}', "application/vnd.example+json")


def longest_digest(images: Images) -> str:
    """Return the digest of an image with SHA-512."""
    layer, content = os.urandom(1000), b"{}"
    described = [
        {"mediaType": "x", "digest": images.add_blob(each, "sha512"), "size": len(each)} for each in (content, layer)
    ]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    return images.add_manifest(json.dumps(document).encode(), MANIFEST, "sha512")


KINDS: dict[str, Callable[[Images], str]] = {
    each.__name__: each
    for each in (
        index_in_index,
        attestations,
        zstd,
        artifact,
        signature,
        docker,
        schema_1,
        signed_schema_1,
        large,
        empty,
        untyped,
        unknown,
        longest_digest,
    )
}
