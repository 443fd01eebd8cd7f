"""Build the images of all programs for amd64 and arm64, without an engine and without emulation: `make images`.

    python -m deploy.images FOLDER

Each image becomes an OCI layout FOLDER/PROGRAM with one index of both architectures, beside its bills of materials.
The base is Debian's Python, unpacked from Debian's packages. Requires Debian and buildah.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.version import VERSION
from tests.localcluster.build import cache_folder
from tests.localcluster.node import archive, debian, dockerfiles, images
from tests.localcluster.node.pipconfig import mounts
from tests.localcluster.node.public_ca import BUNDLE, OPENSSL_LINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY: Final = Path(__file__).parents[1]
PROGRAMS: Final = ("webhook", "controller", "hostess", "cache")
ARCHITECTURES: Final = ("amd64", "arm64")
TITLES: Final = {"hostess": "node agent"}
# base-files names the release of Debian, for scanners.
PACKAGES: Final = (*images.PYTHON_PACKAGES, "ca-certificates", "base-files")
BASE: Final = "local.test/python-base-{architecture}:3.11"


def build(target: Path, programs: Sequence[str] = PROGRAMS) -> dict[str, str]:
    """Build the images of programs below `target`; return the digest of each index."""
    debian.install({"buildah": debian.NEEDED["buildah"]})
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="registry-mirror-images-") as name:
        store = Store(Path(name))
        store.load(images.python_image(with_pip=True))
        for architecture in ARCHITECTURES:
            store.load(_base(architecture, Path(name)))
        return {program: store.build(program, target) for program in programs}


class Store:
    """Images of buildah in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        policy = folder / "policy.json"
        policy.write_text(json.dumps(dockerfiles.TRUST_ALL))
        self.trust = f"--signature-policy={policy}"

    def load(self, file: Path) -> None:
        """Load a docker archive."""
        self.buildah("pull", "--quiet", self.trust, f"docker-archive:{file}")

    def build(self, program: str, target: Path) -> str:
        """Write the index of a program's image and its bills of materials; return its digest."""
        print(f"Building the image of {program} for {' and '.join(ARCHITECTURES)}.", flush=True)
        name = f"registry-mirror/{program}:{VERSION}"
        self.buildah("manifest", "create", name)
        for architecture in ARCHITECTURES:
            image = f"local.test/{program}-{architecture}"
            self._build_one(program, architecture, image)
            self.buildah("manifest", "add", f"--arch={architecture}", name, image)
            (target / f"{program}-{architecture}.cdx.json").write_bytes(self._content(image, "app/sbom.cdx.json"))
        layout = target / program
        shutil.rmtree(layout, ignore_errors=True)
        self.buildah("manifest", "push", "--all", "--quiet", self.trust, name, f"oci:{layout}:{VERSION}")
        return digest(layout)

    def _build_one(self, program: str, architecture: str, image: str) -> None:
        """Build for one architecture. No RUN of the Dockerfile uses the base, so it may be foreign."""
        arguments = {
            "BASE": BASE.format(architecture=architecture),
            "BUILD_BASE": images.PYTHON_BUILD_IMAGE,
            "TARGETARCH": architecture,
        }
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        options += [f"--label={name}={value}" for name, value in labels(program).items()]
        options += [f"--volume={each}" for each in mounts(self.folder)]
        # All files have the date of the commit, so that the same commit gives the same digests.
        options += ["--isolation=chroot", "--network=host", "--pull-never", "--quiet", f"--timestamp={commit_time()}"]
        dockerfile = f"--file={REPOSITORY}/Dockerfile.{program}"
        self.buildah("build", *options, self.trust, dockerfile, f"--tag={image}", str(REPOSITORY))

    def _content(self, image: str, path: str) -> bytes:
        file = self.folder / "image.tar"
        self.buildah("push", "--quiet", self.trust, image, f"docker-archive:{file}")
        found = dockerfiles.content(file, path)
        file.unlink()
        return found

    def buildah(self, *arguments: str) -> str:
        """Run buildah in this store."""
        store = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"]
        return _run(["buildah", *store, *arguments])


def digest(layout: Path) -> str:
    """Return the digest of the only index of an OCI layout."""
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return str(entry["digest"])


def labels(program: str) -> dict[str, str]:
    """Return the labels of an image."""
    found = {
        "title": f"registry-mirror {TITLES.get(program, program)}",
        "version": VERSION,
        "revision": _run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]).strip(),
        "licenses": "Apache-2.0",
    }
    return {f"org.opencontainers.image.{name}": value for name, value in found.items()}


def commit_time() -> str:
    """Return the time of the commit in seconds since 1970."""
    return _run(["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"]).strip()


def _base(architecture: str, folder: Path) -> Path:
    """Return the archive of the base image of an architecture, with Debian's CAs."""
    own = archive.MACHINES.get(os.uname().machine)
    lists = cache_folder(os.environ) / f"apt-lists-{architecture}"
    foreign = None if architecture == own else debian.Foreign(architecture, lists)
    tree = images.python_tree(PACKAGES, foreign)
    tree.file(BUNDLE, b"".join(_lines(tree.contents("usr/share/ca-certificates"))))
    tree.link(OPENSSL_LINK, BUNDLE)
    tree.link("etc/os-release", "../usr/lib/os-release")
    path = folder / f"base-{architecture}.tar"
    name = BASE.format(architecture=architecture)
    archive.write(archive.Image(name, [tree.tar()], {"Cmd": ["python3"]}, architecture), path)
    return path


def _lines(certificates: Sequence[bytes]) -> Iterator[bytes]:
    yield from (each.rstrip() + b"\n" for each in certificates)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout


def main(folder: str) -> None:
    """Build all images and print their digests."""
    for program, built in build(Path(folder)).items():
        print(f"{program} {built}")


if __name__ == "__main__":
    main(*sys.argv[1:])
