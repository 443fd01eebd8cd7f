"""`make demo NODE=0`: what a person sees first must work, and leave their machine as it was, impatient or not.

That with a node is tests/e2e/test_demo.py.
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
    """Starts the demo with `folder` for temporary files: nothing else makes any there."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.localcluster", "demo", "--no-node"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_with(folder: Path) -> list[str]:
    """Command lines of all processes that were handed `folder` in their environment, directly or not."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found


def test_every_scene_goes_as_expected_and_nothing_is_left(tmp_path: Path) -> None:
    """The verdict, the exit status and the width hold; no process and no file remains."""
    with begin(tmp_path) as demo:
        said, _ = demo.communicate()
    assert demo.returncode == 0, said
    assert re.fullmatch(r"demo: 8 of 8 steps succeeded in \d+ s", said.splitlines()[-1])
    assert max(map(len, said.splitlines())) <= 100
    assert "\x1b" not in said  # no colours but on a terminal
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle of a scene, twice, as impatient people do it: no process and no file remains."""
    with begin(tmp_path) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("4. ") for line in demo.stdout)
        assert len(processes_with(tmp_path)) > 4
        demo.send_signal(number)
        demo.send_signal(number)
        said, _ = demo.communicate()
    assert demo.returncode == 130, said
    assert said.endswith("Interrupted.\n")
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())
