"""Build an image for two architectures as a release does, and read what is in it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from common.version import VERSION
from deploy import images
from tests.localcluster.node.public_ca import BUNDLE, public_ca_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json

PROGRAM = "webhook"
# Number in the header of a program for Linux.
MACHINES = {"amd64": 0x3E, "arm64": 0xB7}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the image of a program with compiled packages; return the folder."""
    folder = tmp_path_factory.mktemp("images")
    digests = images.build(folder, [PROGRAM])
    assert list(digests) == [PROGRAM]
    assert _blob(folder, digests[PROGRAM]), "the digest of the index"
    return folder


def test_index_has_each_architecture(built: Path) -> None:
    for architecture, _, configuration in _images(built):
        assert configuration["architecture"] == architecture
        labels = configuration["config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == VERSION
        assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
        assert configuration["config"]["User"] == "65532:65532"
    assert [architecture for architecture, _, _ in _images(built)] == list(images.ARCHITECTURES)


def test_compiled_files_are_of_architecture(built: Path) -> None:
    """Python and all wheels."""
    for architecture, files, _ in _images(built):
        compiled = {path: content for path, content in files.items() if content.startswith(b"\x7fELF")}
        assert {content[18] for content in compiled.values()} == {MACHINES[architecture]}
        assert "usr/bin/python3.11" in compiled
        assert any(path.startswith("app/lib/pydantic_core/") for path in compiled)


def test_image_trusts_public_cas_only(built: Path) -> None:
    """The CA of the local cluster is not in it."""
    for _, files, _ in _images(built):
        bundle = files[BUNDLE.lstrip("/")]
        assert bundle.count(b"BEGIN CERTIFICATE") > 100
        assert public_ca_file().read_bytes().strip() not in bundle


def test_bill_is_beside_image(built: Path) -> None:
    for architecture, files, _ in _images(built):
        bill = (built / f"{PROGRAM}-{architecture}.cdx.json").read_bytes()
        assert bill == files["app/sbom.cdx.json"]
        assert json.loads(bill)["metadata"]["component"]["version"] == VERSION


def _images(folder: Path) -> Iterator[tuple[str, dict[str, bytes], Json]]:
    """Yield architecture, files and configuration of each image of the index."""
    (index,) = json.loads((folder / PROGRAM / "index.json").read_text())["manifests"]
    for entry in json.loads(_blob(folder, index["digest"]))["manifests"]:
        manifest = json.loads(_blob(folder, entry["digest"]))
        files: dict[str, bytes] = {}
        for layer in manifest["layers"]:
            files |= _files(_blob(folder, layer["digest"]))
        yield entry["platform"]["architecture"], files, json.loads(_blob(folder, manifest["config"]["digest"]))


def _files(layer: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        found = ((each.name, archive.extractfile(each)) for each in archive if each.isfile())
        return {name: content.read() for name, content in found if content}


def _blob(folder: Path, digest: str) -> bytes:
    return (folder / PROGRAM / "blobs" / digest.replace(":", "/")).read_bytes()
