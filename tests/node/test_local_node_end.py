"""Test how a node starts if it cannot, and that it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.node import kubelet
from tests.localcluster.node.inside import DEADLINE
from tests.localcluster.node.node import Node
from tests.localcluster.node.requirements import INOTIFY_INSTANCES
from tests.support.pods import eventually

REPOSITORY = Path(__file__).parents[2]
LINKS: dict[Path, set[str]] = {}
GROUPS: dict[Path, list[Path]] = {}


def traces(folder: Path) -> list[str]:
    """Return processes, mounts, interfaces and cgroups of the node of the cluster in `folder`."""
    processes = [
        entry.name
        for entry in Path("/proc").glob("[0-9]*")
        if entry.name != str(os.getpid()) and str(folder).encode() in _read(entry / "cmdline")
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    links = [path.name for path in Path("/sys/class/net").glob("rm-node*") if path.name in LINKS.get(folder, ())]
    groups = [str(path) for path in GROUPS.get(folder, ()) if path.exists()]
    return processes + mounts + links + groups


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def remember(folder: Path) -> None:
    """Note which interface and which cgroups are those of the node in `folder`."""
    LINKS[folder] = {f"rm-node{(folder / 'link').read_text()}"}
    GROUPS[folder] = [Path(line) for line in (folder / "cgroups").read_text().splitlines()]


def test_node_ends_with_killed_program(tmp_path: Path) -> None:
    """A test run that is killed by -9 leaves no processes, mounts, interfaces and cgroups behind."""
    folder = tmp_path / "cluster"
    code = (
        "import pathlib, time\nfrom tests.localcluster.cluster import Cluster\n"
        "from tests.localcluster.node.node import Node\n"
        f"Node(Cluster(pathlib.Path({str(folder)!r}))).start(); print('up', flush=True); time.sleep(600)"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        remember(folder)
        assert len(traces(folder)) > 10
        program.kill()
    assert eventually(lambda: not traces(folder)), traces(folder)


def test_up_with_a_node_and_down(tmp_path: Path) -> None:
    """`up --node` outlives its program, and `down` leaves nothing."""
    folder = tmp_path / "cluster"
    local("up", "--node", folder=folder)
    remember(folder)
    assert "node1" in Cluster(folder).run_kubectl("get", "nodes", "-o", "name").stdout
    local("down", folder=folder)
    assert not traces(folder)
    assert not folder.exists()


def test_start_names_the_kubelet_that_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words are in the message, and nothing waits for the deadline."""
    monkeypatch.setattr(kubelet, "kubelet_settings", lambda *_: {"kind": "Unknown"})
    node, begun = Node(Cluster(tmp_path / "cluster")), time.monotonic()
    with pytest.raises(LocalClusterError, match=r"(?s)^kubelet ended while starting\..*failed to load kubelet config"):
        node.start()
    assert time.monotonic() - begun < DEADLINE


def test_lack_of_inotify_instances_is_reported() -> None:
    """A user namespace has a limit of its own, so other programs of this machine keep theirs."""
    enough, message = "lack_of_inotify() is None", "lack_of_inotify() or 'none'"
    assert check_inotify(INOTIFY_INSTANCES, enough) == "True\n"
    assert f"A node needs {INOTIFY_INSTANCES} inotify instances, and root has 7 left." in check_inotify(7, message)


def check_inotify(limit: int, expression: str) -> str:
    """Print an expression in a user namespace with this limit of inotify instances."""
    code = f"from tests.localcluster.node.requirements import lack_of_inotify; print({expression})"
    script = 'echo "$1" > /proc/sys/user/max_inotify_instances && exec "$2" -c "$3"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", str(limit), sys.executable, code]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


def local(*arguments: str, folder: Path) -> None:
    """Run `python -m tests.localcluster` for the cluster in `folder`."""
    command = [sys.executable, "-m", "tests.localcluster", *arguments]
    environment = {**os.environ, "LOCAL_CLUSTER": str(folder)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
