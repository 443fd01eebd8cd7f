"""Make a release: `make release VERSION=1.2.3`.

    python -m deploy.release VERSION FOLDER HELM [REGISTRY]

The version is that of common/version.py, with a section in CHANGELOG.md. FOLDER gets the images as OCI archives, their
bills of materials, the chart with the digests of the images, the plugin of kubectl, and SHA256SUMS, which cosign signs
if it is in PATH.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.version import VERSION
from deploy import images, plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY: Final = images.REPOSITORY
CHART: Final = REPOSITORY / "deploy" / "chart"
SUMS: Final = "SHA256SUMS"


def problems(version: str) -> Iterator[str]:
    """Yield what keeps this commit from being a release."""
    if version != VERSION:
        yield f"common/version.py has version {VERSION}; set it to {version}, and follow tests/unit/test_chart.py"
    changes = notes(version, (REPOSITORY / "CHANGELOG.md").read_text())
    if not changes:
        yield f"CHANGELOG.md has no section `## {version}` with entries; rename `## Unreleased`"
    if _git("status", "--porcelain"):
        yield "the working tree has changes; commit them"
    if (tagged := _git("tag", "--list", f"v{version}", "--format=%(objectname)")) and not _is_tagged(version):
        yield f"the tag v{version} is another commit, {tagged}"


def notes(version: str, changelog: str) -> str:
    """Return the section of a version in the changelog; empty without entries."""
    found = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    text = found[1].strip() if found else ""
    return text if "\n- " in f"\n{text}" else ""


def with_images(values: str, digests: Mapping[str, str], registry: str | None) -> str:
    """Return values.yaml with the digest of each image, and the registry that has them."""
    for program, digest in digests.items():
        pattern = rf'(repository: registry-mirror/{program}\n(?:.*\n)*?\s+digest: )""'
        values, count = re.subn(pattern, rf'\g<1>"{digest}"', values, count=1)
        if not count:
            raise ValueError(f"values.yaml has no digest of {program}")
    return re.sub(r"(imageRegistry: ).*", rf"\g<1>{registry}", values, count=1) if registry else values


def make(version: str, folder: Path, helm: Path, registry: str | None) -> None:
    """Build the images, then write the files of a release."""
    shutil.rmtree(folder, ignore_errors=True)
    images.build(folder)
    complete(version, folder, helm, registry)


def complete(version: str, folder: Path, helm: Path, registry: str | None) -> None:
    """Write the files of a release beside the OCI layouts of its images."""
    digests = {program: images.digest(folder / program) for program in images.PROGRAMS}
    for program in digests:
        _pack(folder / program, folder / f"registry-mirror-{program}-{version}.oci.tar")
    _package_chart(version, folder, helm, with_images((CHART / "values.yaml").read_text(), digests, registry))
    plugin.write(folder)
    plugin.write_for_krew(folder, os.environ.get("RELEASES") or plugin.RELEASES)
    (folder / "NOTES.md").write_text(notes(version, (REPOSITORY / "CHANGELOG.md").read_text()) + "\n")
    files = sorted(each for each in folder.iterdir() if each.is_file() and not each.is_symlink())
    (folder / SUMS).write_text("".join(f"{_sha256(each)}  {each.name}\n" for each in files))
    sign(folder / SUMS)


def _package_chart(version: str, folder: Path, helm: Path, values: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        chart = Path(name) / "registry-mirror"
        shutil.copytree(CHART, chart)
        (chart / "values.yaml").write_text(values)
        options = [f"--destination={folder}", f"--version={version}", f"--app-version={version}"]
        command = [str(helm), "package", str(chart), *options]
        subprocess.run(command, check=True)


def _pack(layout: Path, file: Path) -> None:
    """Pack an OCI layout with the same bytes each time."""
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(each for each in layout.rglob("*") if each.is_file()):
            header = tarfile.TarInfo(str(path.relative_to(layout)))
            header.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(header, content)


def sign(file: Path) -> None:
    """Sign the checksums, which cover all files."""
    if not shutil.which("cosign"):
        print(f"cosign is not in PATH, so {file.name} is not signed.")
        return
    bundle = file.with_name(f"{file.name}.sigstore.json")
    subprocess.run(["cosign", "sign-blob", "--yes", f"--bundle={bundle}", file], check=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_tagged(version: str) -> bool:
    return f"v{version}" in _git("tag", "--points-at", "HEAD").split()


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main(version: str, folder: str, helm: str, registry: str | None = None) -> int:
    """Return the exit status: 1 if this commit cannot be released."""
    found = list(problems(version))
    for each in found:
        print(f"release: {each}", file=sys.stderr)
    if not found:
        make(version, Path(folder), Path(helm), registry)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
