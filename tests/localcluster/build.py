"""Builds the components of Kubernetes from Go modules: once, into the user's cache."""

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
# -trimpath: the same binary from every checkout; -s -w: without symbols, a quarter smaller; no stamp of our own
# commit, which would make each commit another binary; -mod=readonly: what go.sum does not know is not built.
FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
# Both packages hold a version of their own: the API server answers with the first, client-go introduces itself
# with the second.
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where builds are kept: outside the tree, so that another checkout finds them too."""
    root = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "registry-mirror"


def build(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the binary of all components, built first where the cache does not have it.

    Raises LocalClusterError where there is no Go to be had or it does not compile.
    """
    cache = cache_folder(environment)
    go = toolchain.find(toolchain.needed_version((COMPONENTS / "go.mod").read_text()), cache, environment.get("PATH"))
    binary = cache / f"kubernetes-{build_key(COMPONENTS, go.version)}" / "kubernetes"
    if not binary.exists():
        with exclusive(cache / "build.lock", "another build of the components"):
            if not binary.exists():  # the other build may have made it
                toolchain.install(go)
                _build(go, binary, environment)
    return binary


def build_key(sources: Path, go_version: str) -> str:
    """Name what is built by all that it is built from: sources, versions of all modules, Go, flags, machine."""
    digest = hashlib.sha256()
    for name in SOURCES:
        content = (sources / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    made_with = [go_version, *FLAGS, linker_flags((sources / "go.mod").read_text())]
    digest.update(json.dumps([*made_with, platform.system(), platform.machine()]).encode())
    return digest.hexdigest()[:16]


def linker_flags(module: str) -> str:
    """Return -ldflags that give the components the version that go.mod (its text) asks for.

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
    """Compile into a folder of another name and rename it: an interrupted build leaves nothing that looks whole."""
    compiler.warn_about_space(go.command)
    print(
        f"Building Kubernetes from Go modules with Go {go.version}: five minutes on two cores, once.",
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
