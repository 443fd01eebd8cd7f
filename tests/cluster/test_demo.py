"""Test `make demo NODE=0`.

tests/e2e/test_demo.py tests it with a node.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


def begin(folder: Path) -> subprocess.Popen[str]:
    """Start the demo with `folder` for its temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.localcluster", "demo", "--no-node"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_with(folder: Path) -> list[str]:
    """Return the command lines of all processes whose environment has `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def test_all_steps_succeed(tmp_path: Path) -> None:
    """Lines have at most 100 characters; no process and no file remains."""
    with begin(tmp_path) as demo:
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert re.fullmatch(r"demo: 8 of 8 steps succeeded in \d+ s", output.splitlines()[-1])
    assert max(map(len, output.splitlines())) <= 100
    assert "\x1b" not in output  # no colours but on a terminal
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Two signals during a step leave no process and no file."""
    with begin(tmp_path) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("4. ") for line in demo.stdout)
        assert len(processes_with(tmp_path)) > 4
        demo.send_signal(number)
        demo.send_signal(number)
        output, _ = demo.communicate()
    assert demo.returncode == 130, output
    assert output.endswith("Interrupted.\n")
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())
