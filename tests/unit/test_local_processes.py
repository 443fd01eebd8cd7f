"""Processes with records: the right one is ended, and no other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localcluster.errors import LocalClusterError
from tests.localcluster.ports import free_port
from tests.localcluster.processes import Processes

SLEEPER = [sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('asleep', flush=True); time.sleep(60)",
]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Give the processes of a folder, and end what a test leaves."""
    made = Processes(tmp_path)
    yield made
    made.stop(made.names(), grace=0)


def start(processes: Processes, argv: list[str]) -> None:
    """Start `argv` under the name `it` and wait until it is asleep."""
    processes.start("it", argv, os.environ)
    processes.wait_ready("it", lambda: "asleep" in processes.log("it").read_text())


@pytest.mark.parametrize("argv", [SLEEPER, STUBBORN])
def test_stop_ends_process_that_ignores_sigterm(processes: Processes, argv: list[str]) -> None:
    """SIGTERM first, SIGKILL after the grace; nothing is left of it, no zombie either."""
    start(processes, argv)
    pid = processes.record("it").pid
    assert processes.alive("it")
    processes.stop(["it"], grace=0.2)
    assert not processes.alive("it")
    assert not Path(f"/proc/{pid}").exists()


def test_another_program_finds_a_process_by_its_record(processes: Processes, tmp_path: Path) -> None:
    """One object starts a process, another one sees and ends it."""
    start(processes, SLEEPER)
    other = Processes(tmp_path)
    assert other.names() == ["it"]
    assert other.alive("it")
    other.stop(["it"])
    assert not processes.alive("it")


def test_a_recycled_process_id_is_never_killed(processes: Processes, tmp_path: Path) -> None:
    """A process of the recorded id that was started at another time is a stranger."""
    with subprocess.Popen(SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL) as stranger:
        (tmp_path / "run").mkdir()
        record = {"argv": SLEEPER, "pid": stranger.pid, "started": 1}
        (tmp_path / "run" / "it.json").write_text(json.dumps(record))
        assert not processes.alive("it")
        processes.kill("it", signal.SIGKILL)
        processes.stop(["it"])
        assert stranger.poll() is None
        stranger.kill()


def test_process_that_ends_while_starting_is_reported(processes: Processes) -> None:
    """The error quotes the log, and does not wait for the deadline."""
    processes.start("it", [sys.executable, "-c", "raise SystemExit('no etcd today')"], os.environ)
    with pytest.raises(LocalClusterError, match=r"it ended while starting(?s:.*)no etcd today"):
        processes.wait_ready("it", lambda: False)


def test_process_never_ready_is_reported(processes: Processes) -> None:
    """It runs, but its work does not begin."""
    start(processes, SLEEPER)
    with pytest.raises(LocalClusterError, match=r"it was not ready within 0 s"):
        processes.wait_ready("it", lambda: False, deadline=0.05)


def test_what_was_never_started_is_an_error(processes: Processes) -> None:
    """An unknown name is an error."""
    with pytest.raises(LocalClusterError, match="kube-apisever was never started"):
        processes.alive("kube-apisever")


def test_free_ports_are_below_those_of_outgoing_connections() -> None:
    """A port that is given back for a restart must not become the source of some connection."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(20000 <= free_port() < max(lowest, 32768) for _ in range(50))
