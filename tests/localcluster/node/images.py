"""Build the images that a node has from the start, without an engine, once in the user's cache."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from common.types import Json
from tests.localcluster.build import cache_folder
from tests.localcluster.locks import exclusive
from tests.localcluster.node import archive, debian, programs
from tests.localcluster.node.programs import COREDNS, COREDNS_VERSION, PAUSE
from tests.localcluster.node.public_ca import BUNDLE, OPENSSL_LINK, public_ca_file
from tests.localcluster.node.tree import Tree

# The host needs a dot: without one it would be a path of Docker Hub.
PAUSE_IMAGE = "local.test/pause:3.10"
BUSYBOX_IMAGE = "local.test/busybox:1.35"
COREDNS_IMAGE = f"local.test/coredns:{COREDNS_VERSION}"
PYTHON_IMAGE = "local.test/python:3.11"
PYTHON_BUILD_IMAGE = "local.test/python-build:3.11"

BUSYBOX = Path("/bin/busybox")
PYTHON_PACKAGES = ("python3-minimal", "libpython3.11-stdlib")
# Needed only by the packages' scripts, which do not run here.
NEVER_USED = ("debconf_", "dpkg_", "tar_", "readline-common_")
FOR_RUN = ("sh", "find", "rm")  # used by RUN in our Dockerfiles; the final images have no shell
USERS = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"


def base_images(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the archives of pause, busybox and CoreDNS."""
    pause, coredns = (programs.build(each, environment) for each in (PAUSE, COREDNS))
    return [
        _cached(PAUSE_IMAGE, [pause], {"Entrypoint": ["/pause"]}, lambda: _one_file("pause", pause), environment),
        _cached(BUSYBOX_IMAGE, [BUSYBOX], {"Cmd": ["sh"]}, busybox_tree, environment),
        _cached(
            COREDNS_IMAGE, [coredns], {"Entrypoint": ["/coredns"]}, lambda: _one_file("coredns", coredns), environment
        ),
    ]


def python_image(*, with_pip: bool = False, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the archive of Debian's Python, the Dockerfiles' BASE; with pip it is BUILD_BASE."""
    packages = (*PYTHON_PACKAGES, "python3-pip") if with_pip else PYTHON_PACKAGES
    name = PYTHON_BUILD_IMAGE if with_pip else PYTHON_IMAGE
    parts: list[object] = [*debian.closure(packages), public_ca_file(environment)]
    return _cached(name, parts, {"Cmd": ["python3"]}, lambda: _python(packages, environment, pip=with_pip), environment)


def busybox_tree() -> Tree:
    """Return busybox with a link for each command."""
    tree = _system()
    tree.file("bin/busybox", BUSYBOX, 0o755)
    commands = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for command in commands:
        if command != "busybox":
            tree.link(f"bin/{command}", "busybox")
    return tree


def _one_file(name: str, binary: Path) -> Tree:
    tree = _system()
    tree.file(name, binary, 0o755)
    return tree


def python_tree(packages: Iterable[str], foreign: debian.Foreign | None = None) -> Tree:
    """Return Python with these Debian packages, for this machine or a foreign architecture."""
    tree = _system(Tree().merged())
    with tempfile.TemporaryDirectory() as folder:
        for deb in debian.fetch(packages, Path(folder), foreign):
            if not deb.name.startswith(NEVER_USED):
                tree.package(deb)
    tree.link("usr/bin/python3", "python3.11")
    return tree


def _python(packages: Iterable[str], environment: Mapping[str, str], *, pip: bool) -> Tree:
    tree = python_tree(packages)
    if pip:
        tree.file("usr/bin/busybox", BUSYBOX, 0o755)
        for command in FOR_RUN:
            tree.link(f"usr/bin/{command}", "busybox")
    else:  # the official Python images have a CA bundle too
        tree.file(BUNDLE, public_ca_file(environment))
        tree.link(OPENSSL_LINK, BUNDLE)
    tree.file("etc/passwd", USERS)
    return tree


def _system(tree: Tree | None = None) -> Tree:
    tree = tree or Tree()
    tree.folder("tmp", 0o1777)
    tree.folder("root", 0o700)
    tree.file("etc/passwd", USERS)
    return tree


def _cached(
    name: str, made_of: Iterable[object], settings: Json, make: Callable[[], Tree], environment: Mapping[str, str]
) -> Path:
    """Return the archive of an image; build it if the cache lacks one of these parts."""
    parts = [_digest(each) if isinstance(each, Path) else str(each) for each in made_of]
    sources = [_digest(Path(__file__)), _digest(Path(archive.__file__))]
    key = hashlib.sha256(json.dumps([name, *parts, settings, sources]).encode()).hexdigest()[:16]
    path = cache_folder(environment) / "images" / f"{name.rpartition('/')[2].replace(':', '-')}-{key}.tar"
    with exclusive(path.parent / "images.lock", "another build of the images"):
        if not path.exists():
            print(f"Making the image {name}.", file=sys.stderr, flush=True)
            archive.write(archive.Image(name, [make().tar()], settings), path)
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
