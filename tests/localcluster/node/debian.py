"""Install Debian packages for the node, or unpack them for an image."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.errors import LocalClusterError

# Package and one of its files.
NEEDED = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "busybox-static": "/bin/busybox",
    "iptables": "/usr/sbin/iptables",
    "nftables": "/usr/sbin/nft",
    "conntrack": "/usr/sbin/conntrack",
    "skopeo": "/usr/bin/skopeo",
    "buildah": "/usr/bin/buildah",
    "iproute2": "/usr/sbin/ip",
}
# runc for containerd 2 is linked against libseccomp.
FOR_RUNC = {
    "libseccomp-dev": "/usr/include/seccomp.h",
    "pkg-config": "/usr/bin/pkg-config",
    "gcc": "/usr/bin/gcc",
}
FOR_PODMAN = {"podman": "/usr/bin/podman"}
NO_QUESTIONS = {"DEBIAN_FRONTEND": "noninteractive"}
ADDRESS = re.compile(r"^'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) (?P<hash>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Foreign:
    """Another architecture, whose package lists are in a folder of its own."""

    architecture: str
    lists: Path

    def options(self) -> Mapping[str, str]:
        """Return the options of apt-get."""
        (self.lists / "partial").mkdir(parents=True, exist_ok=True)
        return {
            "APT::Architecture": self.architecture,
            "APT::Architectures::": self.architecture,
            "Dir::State::lists": f"{self.lists}/",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
        }


def install(needed: Mapping[str, str] = NEEDED) -> None:
    """Install the packages whose file is missing; raises LocalClusterError with the message of apt-get."""
    missing = [package for package, path in needed.items() if not Path(path).exists()]
    if missing:
        print(f"Installing {', '.join(missing)} with apt-get.", file=sys.stderr, flush=True)
        _updated(["install", "--yes", "--quiet", "--no-install-recommends", *missing])


@functools.cache  # takes seconds; called for each image with Python
def closure(packages: tuple[str, ...], foreign: Foreign | None = None) -> list[str]:
    """Return the file names of `packages` and all their dependencies, sorted."""
    options = _from_nothing(Path("/nonexistent"), foreign)
    output = _updated([*options, "--print-uris", "install", *packages], options if foreign else ())
    return sorted(match["file"] for match in ADDRESS.finditer(output))


def fetch(packages: Iterable[str], folder: Path, foreign: Foreign | None = None) -> list[Path]:
    """Download `packages` and all their dependencies into `folder`; return the files, sorted."""
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    options = _from_nothing(folder, foreign)
    _updated([*options, "--download-only", "install", *packages], options if foreign else ())
    shutil.rmtree(folder / "partial")
    return sorted(folder.glob("*.deb"))


def unpack(package: str, folder: Path) -> None:
    """Unpack one package into `folder` without installing it; its dependencies must be there."""
    with tempfile.TemporaryDirectory() as name:
        _updated(["download", "--quiet", "--option=APT::Sandbox::User=root", package], folder=name)
        (archive,) = Path(name).glob("*.deb")
        subprocess.run(["dpkg", "--extract", str(archive), str(folder)], check=True)


def _from_nothing(archives: Path, foreign: Foreign | None = None) -> Sequence[str]:
    """Return options with which apt-get resolves all dependencies, as if no package were installed."""
    options = {
        **(foreign.options() if foreign else {}),
        "Dir::State::status": "/dev/null",
        "Dir::Cache::archives": f"{archives}/",
        "Debug::NoLocking": "1",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # apt's user cannot write to the folder
    }
    return ["--quiet=2", "--yes", *(f"--option={name}={value}" for name, value in options.items())]


def _updated(arguments: Sequence[str], options: Sequence[str] = (), folder: str | None = None) -> str:
    """Run apt-get in a folder; if it fails, update the package lists (with `options`) and run it again."""
    done = _apt_get(arguments, folder)
    if done.returncode:
        _apt_get(["update", "--quiet", *options])
        done = _apt_get(arguments, folder)
    if done.returncode:
        raise LocalClusterError(f"apt-get cannot do it: {done.stderr.strip()}")
    return done.stdout


def _apt_get(arguments: Sequence[str], folder: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **NO_QUESTIONS}
    # Another worker may be installing; apt-get waits for its lock.
    command = ["apt-get", "--option=DPkg::Lock::Timeout=120", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
