"""Run `go list` and `go build` and print their progress."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.localcluster.errors import LocalClusterError
from tests.localcluster.progress import Progress

REFRESH = 0.25  # seconds between two updates of the progress
# Measured for a first build: 0.8 GB of modules, 3.2 GB of Go's build cache, 0.4 GB for Go and the result.
NEEDED_GIGABYTES = 5
DOWNLOADING = "go: downloading "


def compile_module(
    module: Path, go: Path, flags: Sequence[str], environment: Mapping[str, str], progress: Progress
) -> None:
    """Build the program in the folder `module` with `flags`; print how many packages are compiled.

    Raises LocalClusterError with the last lines of the compiler.
    """
    # CGO_ENABLED=0: no C compiler and no libc. GOTOOLCHAIN=local: the chosen Go, which is in the build's key.
    settings = {**environment, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    packages = _list_packages(module, go, settings, progress)
    known, compiled = frozenset(packages), set[str]()
    output: deque[str] = deque(maxlen=30)

    def note(line: str) -> None:
        if line in known:
            compiled.add(line)
        else:
            output.append(line)

    def report() -> None:
        # Go prints a package when it starts to compile it, and prints no cached package.
        step = "linking" if packages[-1] in compiled else "compiling"
        progress.show(f"  {step}: {len(compiled)} of at most {len(packages)} packages")

    # -v prints each compiled package.
    _run([str(go), "build", "-v", *flags, "."], module, settings, note, report, output)
    progress.finish(f"  built: {len(compiled)} packages compiled")


def warn_about_space(go: Path) -> None:
    """Warn before a first build that may run out of disk space."""
    asked = subprocess.run([go, "env", "GOCACHE", "GOMODCACHE"], capture_output=True, text=True, check=False)
    for name, folder in zip(("GOCACHE", "GOMODCACHE"), asked.stdout.split("\n"), strict=False):
        free = _free_gigabytes(Path(folder)) if folder else NEEDED_GIGABYTES
        if free < NEEDED_GIGABYTES:
            print(
                f"Only {free:.1f} GB are free under {folder}; a first build may need {NEEDED_GIGABYTES} GB. "
                f"If it fails, set {name} to another folder.",
                file=sys.stderr,
                flush=True,
            )


def _free_gigabytes(folder: Path) -> float:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(existing).free / 1e9


def _list_packages(module: Path, go: Path, environment: Mapping[str, str], progress: Progress) -> list[str]:
    """Return the packages of the program, itself last; fetch their modules."""
    packages: list[str] = []
    output: deque[str] = deque(maxlen=30)
    modules = 0

    def note(line: str) -> None:
        nonlocal modules
        if line.startswith(DOWNLOADING):
            modules += 1
            return
        packages.append(line)
        output.append(line)

    def report() -> None:
        progress.show(f"  fetching modules: {modules} so far")

    _run([str(go), "list", "-mod=readonly", "-deps", "."], module, environment, note, report, output)
    return packages


def _run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    note: Callable[[str], None],
    report: Callable[[], None],
    output: deque[str],
) -> None:
    """Run `command`. `note` gets each output line; `report` is called every REFRESH seconds.

    Raises LocalClusterError with the lines in `output` if it fails. An interrupt ends the command and its children.
    """
    # In its own session, so that all compilers can be ended at once.
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        reader = threading.Thread(target=_read, args=(process.stdout, note), daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                reader.join(REFRESH)
                report()
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        lines = "\n".join(f"  {line}" for line in output)
        raise LocalClusterError(f"{' '.join(command[:2])} failed in {folder}. Last lines:\n{lines}")


def _read(stream: IO[str] | None, note: Callable[[str], None]) -> None:
    for line in stream or ():
        note(line.rstrip("\n"))
