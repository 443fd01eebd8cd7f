"""Test `make demo` on a node: pulls through the mirror, without upstream and without mirror.

tests/cluster/test_demo.py tests it without a node.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.support.demo import begin, traces


def made_outside(folder: Path) -> list[Path]:
    """Return the interface and the cgroups of a running demo."""
    (cluster,) = folder.glob("registry-mirror-demo-*/cluster")
    groups = [Path(line) for line in (cluster / "cgroups").read_text().splitlines()]
    return [Path(f"/sys/class/net/rm-node{(cluster / 'link').read_text()}"), *groups]


def test_all_steps_succeed(tmp_path: Path) -> None:
    """All thirteen steps succeed, with four pulls and no escape sequences."""
    with begin(tmp_path) as demo:
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert re.fullmatch(r"demo: 13 of 13 steps succeeded in \d+ s", output.splitlines()[-1])
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
