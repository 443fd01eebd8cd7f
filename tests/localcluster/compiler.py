"""Runs `go list` and `go build`, and tells how far they are."""

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

REFRESH = 0.25  # seconds between two looks at how far it is
# Measured for a first build: 0.8 GB of modules, 3.2 GB of Go's build cache, 0.4 GB for Go and the result.
NEEDED_GIGABYTES = 5
DOWNLOADING = "go: downloading "


def compile_module(
    module: Path, go: Path, flags: Sequence[str], environment: Mapping[str, str], progress: Progress
) -> None:
    """Build the program in the folder `module` with `flags`, telling the packages compiled of all there are.

    Raises LocalClusterError with the compiler's last lines.
    """
    # CGO_ENABLED=0: no C compiler, and a binary that runs on any libc. GOTOOLCHAIN=local: the Go that was chosen, and
    # that the build's key names, not one it would fetch by itself.
    settings = {**environment, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    packages = _list_packages(module, go, settings, progress)
    known, compiled = frozenset(packages), set[str]()
    output: deque[str] = deque(maxlen=30)

    def note(line: str) -> None:
        if line in known:
            compiled.add(line)
        else:
            output.append(line)

    def tell() -> None:
        # Go names a package when it begins with it; those in its own cache it does not name at all
        step = "linking" if packages[-1] in compiled else "compiling"
        progress.show(f"  {step}: {len(compiled)} of at most {len(packages)} packages")

    # -v names each package that is compiled
    _run([str(go), "build", "-v", *flags, "."], module, settings, note, tell, output)
    progress.finish(f"  built: {len(compiled)} packages compiled")


def warn_about_space(go: Path) -> None:
    """Say early, in one sentence with a way out, where a first build may run out of disk."""
    asked = subprocess.run([go, "env", "GOCACHE", "GOMODCACHE"], capture_output=True, text=True, check=False)
    for name, folder in zip(("GOCACHE", "GOMODCACHE"), asked.stdout.split("\n"), strict=False):
        free = _free_gigabytes(Path(folder)) if folder else NEEDED_GIGABYTES
        if free < NEEDED_GIGABYTES:
            print(
                f"Only {free:.1f} GB are free under {folder}, and a first build may need {NEEDED_GIGABYTES} GB: "
                f"if it fails, set {name} to a folder with more room.",
                file=sys.stderr,
                flush=True,
            )


def _free_gigabytes(folder: Path) -> float:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(existing).free / 1e9


def _list_packages(module: Path, go: Path, environment: Mapping[str, str], progress: Progress) -> list[str]:
    """Return the packages the program is made of, itself last; fetches the modules that hold them."""
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

    def tell() -> None:
        progress.show(f"  fetching modules: {modules} so far")

    _run([str(go), "list", "-mod=readonly", "-deps", "."], module, environment, note, tell, output)
    return packages


def _run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    note: Callable[[str], None],
    tell: Callable[[], None],
    output: deque[str],
) -> None:
    """Run `command`; `note` takes each line it says, `tell` is called about every REFRESH seconds.

    Raises LocalClusterError with the lines in `output` when it fails; takes it and its children along when interrupted.
    """
    # a session of its own, so that all its compilers can be ended at once
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
                tell()
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        lines = "\n".join(f"  {line}" for line in output)
        raise LocalClusterError(f"{' '.join(command[:2])} failed in {folder}. It last said:\n{lines}")


def _read(stream: IO[str] | None, note: Callable[[str], None]) -> None:
    for line in stream or ():
        note(line.rstrip("\n"))
