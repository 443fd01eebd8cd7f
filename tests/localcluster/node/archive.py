"""Write images as archives that are both an OCI layout and a docker archive."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.types import Json

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER = "application/vnd.oci.image.layer.v1.tar"  # not compressed: all traffic is local
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """An image with its full name (`host.with.dot/path:tag`); `settings` are the `config` of the OCI configuration."""

    name: str
    layers: Sequence[bytes]
    settings: Json = field(default_factory=dict)
    architecture: str = MACHINES.get(platform.machine(), platform.machine())


def write(image: Image, path: Path) -> None:
    """Write the archive and rename it into place."""
    temporary = path.with_name(path.name + ".part")
    with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in sorted(_files(image).items()):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    temporary.rename(path)


def _files(image: Image) -> dict[str, bytes]:
    platform_ = {"architecture": image.architecture, "os": "linux"}
    digests = [_digest(layer) for layer in image.layers]
    settings = {"Env": [PATH], **image.settings}
    config = _json({**platform_, "config": settings, "rootfs": {"type": "layers", "diff_ids": digests}})
    layers = [_descriptor(LAYER, layer) for layer in image.layers]
    manifest = _json(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": _descriptor(CONFIG, config), "layers": layers}
    )
    names = {
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
    }
    entry = {**_descriptor(MANIFEST, manifest), "platform": platform_, "annotations": names}
    docker = {"Config": _path(config), "RepoTags": [image.name], "Layers": [_path(layer) for layer in image.layers]}
    return {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}),
        "manifest.json": _json([docker]),
        **{_path(blob): blob for blob in (*image.layers, config, manifest)},
    }


def _descriptor(kind: str, content: bytes) -> Json:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _path(content: bytes) -> str:
    return "blobs/" + _digest(content).replace(":", "/")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
