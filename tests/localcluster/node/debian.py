"""Debian's packages: installed where the node runs their programs, only unpacked where they become an image."""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.localcluster.errors import LocalClusterError

# Of each package one file that it brings.
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
# What runc of the second flavour is linked against, for its filters of system calls.
FOR_RUNC = {
    "libseccomp-dev": "/usr/include/seccomp.h",
    "pkg-config": "/usr/bin/pkg-config",
    "gcc": "/usr/bin/gcc",
}
NO_QUESTIONS = {"DEBIAN_FRONTEND": "noninteractive"}
ADDRESS = re.compile(r"^'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) (?P<hash>\S+)$", re.MULTILINE)


def install(needed: Mapping[str, str] = NEEDED) -> None:
    """Install those packages whose file is missing; raises LocalClusterError with what apt-get says where it cannot."""
    missing = [package for package, path in needed.items() if not Path(path).exists()]
    if missing:
        print(f"Installing {', '.join(missing)} with apt-get.", file=sys.stderr, flush=True)
        _updated(["install", "--yes", "--quiet", "--no-install-recommends", *missing])


@functools.cache  # seconds each time, and asked for each image that is built on Python
def closure(packages: tuple[str, ...]) -> list[str]:
    """Return the file names (name, version, machine) of `packages` and all they depend on, sorted."""
    said = _updated([*_from_nothing(Path("/nonexistent")), "--print-uris", "install", *packages])
    return sorted(match["file"] for match in ADDRESS.finditer(said))


def fetch(packages: Iterable[str], folder: Path) -> list[Path]:
    """Fetch `packages` and all they depend on into `folder`, installing nothing; return the files, sorted."""
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    _updated([*_from_nothing(folder), "--download-only", "install", *packages])
    shutil.rmtree(folder / "partial")
    return sorted(folder.glob("*.deb"))


def _from_nothing(archives: Path) -> Sequence[str]:
    """Return the options that let apt-get resolve as on a machine without any package, into a folder of ours."""
    options = {
        "Dir::State::status": "/dev/null",
        "Dir::Cache::archives": f"{archives}/",
        "Debug::NoLocking": "1",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # apt's own user may not write into a folder of ours
    }
    return ["--quiet=2", "--yes", *(f"--option={name}={value}" for name, value in options.items())]


def _updated(arguments: Sequence[str]) -> str:
    """Run apt-get; where it fails once more, with new lists of packages."""
    done = _apt_get(arguments)
    if done.returncode:
        _apt_get(["update", "--quiet"])
        done = _apt_get(arguments)
    if done.returncode:
        raise LocalClusterError(f"apt-get cannot do it: {done.stderr.strip()}")
    return done.stdout


def _apt_get(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **NO_QUESTIONS}
    return subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False)
