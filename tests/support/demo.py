"""Start `make demo` and find what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]


def begin(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start the demo with `folder` for its temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.localcluster", "demo", *options],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def traces(folder: Path) -> list[str]:
    """Return processes and mounts that use `folder`, and files in it."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    return [*processes_with(folder), *mounts, *map(str, folder.iterdir())]


def processes_with(folder: Path) -> Iterator[str]:
    """Yield the command lines of all processes of a demo."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:  # it has ended meanwhile
            continue
        if str(folder).encode() in command + environment:
            yield command.replace(b"\0", b" ").decode(errors="replace")
