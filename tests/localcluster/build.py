"""Build the components of Kubernetes from Go modules, once, in the user's cache."""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.localcluster import compiler, toolchain
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.locks import exclusive
from tests.localcluster.progress import Progress

COMPONENTS = toolchain.COMPONENTS
SOURCES = ("main.go", "go.mod", "go.sum")
# -trimpath and no VCS stamp: the same binary from each checkout and commit. -s -w: no symbols, a quarter smaller.
# -mod=readonly: build only what go.sum has.
FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
# The API server's version is in the first package, client-go's user agent in the second.
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the cache folder, which all checkouts share."""
    root = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "registry-mirror"


def build(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the binary of all components; build it if the cache lacks it.

    Raises LocalClusterError if there is no Go or it fails to compile.
    """
    cache = cache_folder(environment)
    go = toolchain.find(toolchain.needed_version((COMPONENTS / "go.mod").read_text()), cache, environment.get("PATH"))
    binary = cache / f"kubernetes-{build_key(COMPONENTS, go.version)}" / "kubernetes"
    if not binary.exists():
        with exclusive(cache / "build.lock", "another build of the components"):
            if not binary.exists():  # another process may have built it
                toolchain.install(go)
                _build(go, binary, environment)
    return binary


def build_key(sources: Path, go_version: str) -> str:
    """Return a key of sources, module versions, Go, flags and machine."""
    digest = hashlib.sha256()
    for name in SOURCES:
        content = (sources / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    made_with = [go_version, *FLAGS, linker_flags((sources / "go.mod").read_text())]
    digest.update(json.dumps([*made_with, platform.system(), platform.machine()]).encode())
    return digest.hexdigest()[:16]


def linker_flags(module: str) -> str:
    """Return -ldflags with the version in go.mod (its text).

    Without them clients see v0.0.0-master and refuse or warn.
    """
    version = re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)$", module, re.MULTILINE)
    if not version:
        raise LocalClusterError("Cannot find the version of k8s.io/kubernetes in go.mod.")
    values = {
        "gitVersion": version[1],
        "gitMajor": version[2],
        "gitMinor": version[3],
        "gitCommit": "go-modules",
        "gitTreeState": "archive",
    }
    return " ".join(
        ["-s -w", *(f"-X {package}.{name}={value}" for package in VERSION_PACKAGES for name, value in values.items())]
    )


def _build(go: toolchain.Go, binary: Path, environment: Mapping[str, str]) -> None:
    """Compile into a temporary folder and rename it, so that an interrupted build leaves no result."""
    compiler.warn_about_space(go.command)
    print(
        f"Building Kubernetes from Go modules with Go {go.version}: five minutes on two cores, only the first time.",
        file=sys.stderr,
        flush=True,
    )
    temporary = binary.parent.with_name(binary.parent.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    flags = [*FLAGS, "-ldflags", linker_flags((COMPONENTS / "go.mod").read_text()), "-o", str(temporary / binary.name)]
    try:
        compiler.compile_module(COMPONENTS, go.command, flags, environment, Progress(sys.stderr))
        temporary.rename(binary.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
