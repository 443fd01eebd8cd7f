"""Test killed agents: foreign content stays, pulls go on, the next agent cleans."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hostess.hostsfile import hosts_block
from tests.unit.hostess import random_changes
from tests.unit.hostess.node_files import LOCALHOST, NodeFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[3]
KILLS = 50
MEMORY = Path("/dev/shm")  # noqa: S108 (a file system in memory, for a folder of a random name)


class Foreign:
    """Node with foreign files everywhere."""

    def __init__(self, root: Path) -> None:
        self.node = NodeFiles(root)
        self.files = [
            self.node.put("etc/containerd/certs.d/one.example.com/ca.crt"),
            self.node.put("etc/containerd/certs.d/other.example.com/hosts.toml", 'server = "https://mine"'),
            self.node.put("etc/docker/certs.d/two.example.com/ca.crt"),
            self.node.put("etc/containerd/config.toml"),
        ]
        self.before = self.node.tree()
        self.backup = self.node.root / "backup/hosts"

    def check(self) -> None:
        """Assert what holds at every moment."""
        for path in self.files:
            assert path.read_text() == str(self._before_of(path), "utf-8")
        assert self.node.hosts.read_bytes().startswith(LOCALHOST)
        for path in self.node.containerd.glob("*/hosts.toml"):
            self._check_toml(path)

    def _before_of(self, path: Path) -> bytes:
        return self.before[str(path.relative_to(self.node.root))] or b""

    def _check_toml(self, path: Path) -> None:
        """Assert that each named CA file exists.

        A CA may be absent if the file that names it was replaced meanwhile: the agent removes that file first.
        """
        before = _identity(path)
        for ca in _named(path):
            if not Path(ca).exists():
                assert _identity(path) != before, f"{path} names {ca}, which is not there"

    def cleaned(self) -> None:
        """Let the agents of both mirrors clean, and assert that the node is as before."""
        for mirror in ("one", "two"):
            self.node.agent(mirror).clean()
        assert self.node.tree() == self.before

    def start(self, mirror: str) -> subprocess.Popen[str]:
        """Start random changes in a process."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE), **self.node.environment(mirror)}
        command = [sys.executable, "-S", "-m", random_changes.__name__]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=HERE)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return inode and time of change; None if there is no file. A replacement by a rename has another inode."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def _named(path: Path) -> Iterator[str]:
    try:
        read = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return
    yield from read.get("ca", [])
    yield from (host["ca"] for host in read.get("host", {}).values())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory if possible: thousands of changes are synced to disk."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as found:
        yield Path(found)


@pytest.fixture
def foreign(folder: Path) -> Foreign:
    return Foreign(folder / "node")


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow  # each run kills at other moments; the next test tries each moment of one agent
def test_two_agents_killed_at_random(foreign: Foreign) -> None:
    for _ in range(KILLS // 2):
        agents = [foreign.start(mirror) for mirror in ("one", "two")]
        for agent in agents:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "started\n"
        for agent in agents:
            end = time.monotonic() + random.uniform(0, 0.2)  # noqa: S311 (a moment, no secret)
            while time.monotonic() < end:
                foreign.check()
            _kill(agent)
        foreign.check()
        content = foreign.node.hosts.read_bytes()
        assert hosts_block.parse(content).foreign == LOCALHOST
    foreign.cleaned()


def test_agent_killed_before_each_change(folder: Path) -> None:
    """After each kill the node pulls, and the next agent cleans it."""
    processes = multiprocessing.get_context("forkserver")  # a fork costs a tenth of a start
    processes.set_forkserver_preload([random_changes.__name__])
    for change in range(1000):
        foreign = Foreign(folder / str(change))
        agent = processes.Process(target=random_changes.once, args=(foreign.node.environment("one"), change))
        agent.start()
        agent.join()
        foreign.check()
        foreign.cleaned()
        if agent.exitcode == 0:
            break
        assert agent.exitcode == -signal.SIGKILL
    assert change > 50, "it made next to no change"
