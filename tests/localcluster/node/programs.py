"""Build programs from Go modules once, in the user's cache."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import compiler, toolchain
from tests.localcluster.build import FLAGS, cache_folder
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.locks import exclusive
from tests.localcluster.node import debian
from tests.localcluster.progress import Progress

HERE = Path(__file__).parent
REGISTRY_VERSION = "3.1.1"
COREDNS_VERSION = "1.15.0"
SMALL = ("-ldflags", "-s -w")  # no symbols, a quarter smaller
# Unused drivers that need C libraries or kernel modules.
NO_DRIVERS = "no_btrfs no_devmapper no_zfs"


@dataclass(frozen=True)
class Program:
    """A command. `source` is a folder here with go.mod and go.sum, or `import/path@version`."""

    name: str
    source: str
    tags: str = ""
    needs_c: bool = False

    @property
    def folder(self) -> Path | None:
        """Return the folder of the source, None for a module."""
        return None if "@" in self.source else HERE / self.source


PAUSE = Program("pause", "pause")
COREDNS = Program("coredns", "coredns")
HOSTSDIR = Program("hostsdir", "hostsdir")
REGISTRY = Program("registry", f"github.com/distribution/distribution/v3/cmd/registry@v{REGISTRY_VERSION}")
CONTAINERD_2 = tuple(
    Program(name, f"github.com/containerd/containerd/v2/cmd/{name}@v2.4.2", NO_DRIVERS)
    for name in ("containerd", "containerd-shim-runc-v2", "ctr")
)
HELM = Program("helm", "helm.sh/helm/v4/cmd/helm@v4.3.1")
LUA = Program("glua", "github.com/yuin/gopher-lua/cmd/glua@v1.1.2")  # the interpreter of Argo CD
# Releases between Debian's 1.6 and the newest, for comparison with what the agent concludes.
CONTAINERD_1_7 = Program("containerd", "containerd17")
CONTAINERD_2_1 = Program("containerd", "containerd21")
RUNC = Program("runc", "github.com/opencontainers/runc@v1.5.2", "seccomp netgo osusergo", needs_c=True)


def build(program: Program, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the program's file; build it if the cache lacks it.

    Raises LocalClusterError if there is no Go or it fails to compile.
    """
    cache, go = cache_folder(environment), compiler_of(environment)
    binary = cache / f"{program.name}-{build_key(program, go.version)}" / program.name
    if not binary.exists():
        with exclusive(cache / "build.lock", "another build of the components"):
            if not binary.exists():  # another process may have built it
                toolchain.install(go)
                _build(program, go, binary, environment)
    return binary


def compiler_of(environment: Mapping[str, str]) -> toolchain.Go:
    """Return the Go that builds the programs."""
    needed = toolchain.needed_version((toolchain.COMPONENTS / "go.mod").read_text())
    return toolchain.find(needed, cache_folder(environment), environment.get("PATH"))


def module(name: str, folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the sources of a Go module. Its version is in `name`, as `path@version`, or in go.mod of `folder`.

    Raises LocalClusterError if Go cannot fetch it.
    """
    go = compiler_of(environment)
    toolchain.install(go)
    command = [str(go.command), "mod", "download", "-json", name]
    settings = {**environment, "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalClusterError(f"Go cannot fetch {name}: {done.stdout.strip()}{done.stderr.strip()}")
    return Path(json.loads(done.stdout)["Dir"])


def build_key(program: Program, go_version: str) -> str:
    """Return a key of sources or version, Go, flags and machine."""
    sources = sorted(program.folder.iterdir()) if program.folder else []
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    made_with = [program.source, program.tags, *contents, go_version, *FLAGS, *SMALL]
    return hashlib.sha256(json.dumps([*made_with, platform.machine()]).encode()).hexdigest()[:16]


def _build(program: Program, go: toolchain.Go, binary: Path, environment: Mapping[str, str]) -> None:
    """Compile into a temporary folder and rename it, so that an interrupted build leaves no result."""
    print(f"Building {program.name} from Go modules with Go {go.version}, once.", file=sys.stderr, flush=True)
    temporary = binary.parent.with_name(binary.parent.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        if program.folder:
            flags = [*FLAGS, *SMALL, "-o", str(temporary / program.name)]
            compiler.compile_module(program.folder, go.command, flags, environment, Progress(sys.stderr))
        else:
            _install(program, go, temporary, environment)
        temporary.rename(binary.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _install(program: Program, go: toolchain.Go, folder: Path, environment: Mapping[str, str]) -> None:
    """Install a command of a module, whose go.mod pins its dependencies."""
    if program.needs_c:
        debian.install(debian.FOR_RUNC)
    settings = {"GOBIN": str(folder), "CGO_ENABLED": str(int(program.needs_c)), "GOTOOLCHAIN": "local"}
    # Without a go.mod, -mod=readonly is useless.
    flags = [flag for flag in FLAGS if not flag.startswith("-mod")]
    command = [str(go.command), "install", *flags, *SMALL, "-tags", program.tags, program.source]
    done = subprocess.run(
        command, cwd=folder, env={**environment, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LocalClusterError(f"Go cannot build {program.source}: {done.stderr.strip()[-2000:]}")
