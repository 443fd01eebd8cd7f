"""Build the plugin of kubectl: `python -m deploy.plugin FOLDER`. The same sources give the same bytes.

The folder gets the plugin, links for its short name and for completion, and archive and manifest for krew.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import string
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from common.version import VERSION

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "cli"
# kubectl looks for an underscore where the command has a hyphen.
PLUGIN: Final = "kubectl-registry_mirror"
LINKS: Final = ("kubectl-mirror", "kubectl_complete-registry_mirror", "kubectl_complete-mirror")
MANIFEST: Final = "registry-mirror.yaml"
# Where releases are served, if the variable RELEASES names no other address.
RELEASES: Final = "https://example.com/registry-mirror/releases/download"
INTERPRETER: Final = b"#!/usr/bin/env python3\n"
# The earliest date of the format, and the mode of a readable file.
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16


def main(arguments: list[str]) -> int:
    """Write all files into a folder and print the path of the plugin."""
    folder = Path(arguments[0])
    print(write(folder))
    write_for_krew(folder, os.environ.get("RELEASES") or RELEASES)
    return 0


def write(folder: Path) -> Path:
    """Write plugin and links; return the path of the plugin."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLUGIN
    path.write_bytes(zipapp(VERSION))
    path.chmod(0o755)
    for name in LINKS:
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(PLUGIN)
    return path


def write_for_krew(folder: Path, releases: str = RELEASES) -> Path:
    """Write archive and manifest for krew; return the manifest. `releases` is where the archive will be served."""
    release = VERSION
    content = archive(release)
    (folder / f"{PLUGIN}-{release}.tar.gz").write_bytes(content)
    template = string.Template((SOURCES / "krew.yaml").read_text())
    manifest = folder / MANIFEST
    manifest.write_text(
        template.substitute(
            version=release,
            releases=releases,
            homepage=releases.removesuffix("/releases/download"),
            sha256=hashlib.sha256(content).hexdigest(),
        )
    )
    return manifest


def archive(release: str) -> bytes:
    """Return the plugin and the licence as a tar file. gzip stores it uncompressed, like the zipapp."""
    target = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=0, mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, content, mode in (
            ("LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644),
            (PLUGIN, zipapp(release), 0o755),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def zipapp(release: str) -> bytes:
    """Return the archive that Python runs. Nothing is compressed, because compressors differ between machines."""
    contents = {str(path.relative_to(ROOT)): path.read_bytes() for path in SOURCES.rglob("*.py")}
    contents |= {"__main__.py": (SOURCES / "__main__.py").read_bytes(), "cli/VERSION": f"{release}\n".encode()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = _MODE
            archive.writestr(entry, content)
    return INTERPRETER + target.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
