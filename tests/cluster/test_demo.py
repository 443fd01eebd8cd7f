"""Test `make demo NODE=0`.

tests/e2e/test_demo.py tests it with a node.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.demo import begin, processes_with, traces

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_all_steps_succeed(tmp_path: Path) -> None:
    """Lines have at most 100 characters; no process and no file remains."""
    with begin(tmp_path, "--no-node") as demo:
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert re.fullmatch(r"demo: 8 of 8 steps succeeded in \d+ s", output.splitlines()[-1])
    assert max(map(len, output.splitlines())) <= 100
    assert "\x1b" not in output  # no colours but on a terminal
    assert not traces(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Two signals during a step leave no process and no file."""
    with begin(tmp_path, "--no-node") as demo:
        assert demo.stdout is not None
        assert any(line.startswith("4. ") for line in demo.stdout)
        assert len(list(processes_with(tmp_path))) > 4
        demo.send_signal(number)
        demo.send_signal(number)
        output, _ = demo.communicate()
    assert demo.returncode == 130, output
    assert output.endswith("Interrupted.\n")
    assert not traces(tmp_path)
