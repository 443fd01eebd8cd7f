"""Test `make demo` on a node: pulls through the mirror, without upstream and without mirror.

tests/cluster/test_demo.py tests it without a node.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]


def begin(folder: Path) -> subprocess.Popen[str]:
    """Start the demo with `folder` for its temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.localcluster", "demo"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def made_outside(folder: Path) -> list[Path]:
    """Return the interface and the cgroups of a running demo."""
    (cluster,) = folder.glob("registry-mirror-demo-*/cluster")
    groups = [Path(line) for line in (cluster / "cgroups").read_text().splitlines()]
    return [Path(f"/sys/class/net/rm-node{(cluster / 'link').read_text()}"), *groups]


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


def test_all_steps_succeed(tmp_path: Path) -> None:
    """All twelve steps succeed, with four pulls and no escape sequences."""
    with begin(tmp_path) as demo:
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert re.fullmatch(r"demo: 12 of 12 steps succeeded in \d+ s", output.splitlines()[-1])
    assert output.count("this is docker.io/library/hello:1") == 4
    assert "\x1b" not in output  # no colours but on a terminal
    assert not traces(tmp_path)


def test_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    """SIGINT twice during a step with pods leaves no process, mount, interface, cgroup or file."""
    with begin(tmp_path) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("5. ") for line in demo.stdout)
        assert len(traces(tmp_path)) > 10
        made = made_outside(tmp_path)
        assert all(path.exists() for path in made)
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate()
    assert demo.returncode == 130, output
    assert output.endswith("Interrupted.\n")
    assert not traces(tmp_path)
    assert not [path for path in made if path.exists()]
