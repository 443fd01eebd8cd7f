"""Test that a configuration counts only if containerd started after its last change."""

from __future__ import annotations

import io
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hostess import dialer
from hostess.containerd import restarts
from hostess.containerd.config_reader import NOT_RESTARTED, Containerd
from hostess.containerd.restarts import Start, StartWatch
from hostess.containerd.runtime import Runtime
from hostess.health.node_network import NodeNetwork
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.node_state import NodeConfigError
from tests.support.kube import until
from tests.unit.hostess.test_dialer import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.hostess.node_files import NodeFiles

HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"
PATH = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "{}"\n'


def a_row(path: str, inode: int, flags: str = "00010000") -> str:
    return f"0000000000000000: 00000002 00000000 {flags} 0001 01 {inode} {path}\n"


def test_listening_sockets_of_containerd_count() -> None:
    """Connections to it have the same path, and dockerd has a containerd of its own."""
    rows = [
        a_row("/run/containerd/containerd.sock", 7),
        a_row("/run/containerd/containerd.sock", 8, "00000000"),
        a_row("/run/containerd/containerd.sock.ttrpc", 9),
        a_row("/run/docker/containerd/containerd.sock", 10),
        a_row("/run/k3s/containerd/containerd.sock", 11),
        a_row("", 12),
        "cut",
    ]
    assert restarts.inodes(HEAD + "".join(rows)) == {"7", "11"}
    assert restarts.inodes(HEAD) == frozenset()


def test_start_is_seen_by_another_inode() -> None:
    watch = StartWatch(Start(100.0))
    watch.update(frozenset("7"), 100.0)
    assert watch.start == Start(100.0)
    assert not watch.start.is_before(99.0), "nothing is known of the time before"
    assert watch.start.is_before(101.0)
    watch.update(frozenset(), 102.0)
    watch.update(frozenset("8"), 103.0)
    watch.update(frozenset("8"), 104.0)
    assert watch.start == Start(100.0, 103.0)
    assert not watch.start.is_before(102.5)
    assert watch.start.is_before(103.5)


@contextmanager
def a_containerd(folder: Path) -> Iterator[None]:
    """Listen on a socket with containerd's name."""
    path = folder / "containerd.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        try:
            yield
        finally:
            path.unlink()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeNetwork]:
    """Run a dialer that checks often, and finds only the test's containerd."""
    monkeypatch.setattr(dialer, "CHECK_INTERVAL", 0.0)
    table = restarts.inodes
    monkeypatch.setattr(
        restarts,
        "inodes",
        lambda text: table("\n".join(line for line in text.splitlines() if str(tmp_path) in line)),
    )
    serving = Serving(tmp_path / "mirrors.dialer")
    yield NodeNetwork(tmp_path / "mirrors.dialer")
    serving.stop()


def started_at(network: NodeNetwork) -> float:
    start = network.last_start()
    assert start is not None
    return start.seen


def test_dialer_reports_starts(network: NodeNetwork, tmp_path: Path) -> None:
    assert started_at(network) == 0.0
    with a_containerd(tmp_path):
        until(lambda: started_at(network) > 0.0, why="the first start is seen")
        first = started_at(network)
    with a_containerd(tmp_path):
        until(lambda: started_at(network) > first, why="the second start is seen")


def test_configuration_counts_after_a_start(node: NodeFiles, network: NodeNetwork, tmp_path: Path) -> None:
    """K1: the right path is written, and containerd does not restart."""
    api = ApiClient("127.0.0.1", 1, node.root)
    settings = node.settings()
    runtime = Runtime("containerd", (2, 4))
    reader = Containerd(settings, api, Log(io.StringIO()), version_read=True, runtime=runtime, network=network)
    with a_containerd(tmp_path):
        until(lambda: started_at(network) > 0.0, why="containerd is seen")
        wrong = node.put("etc/containerd/config.toml", PATH.format("/etc/another/certs.d"))
        with pytest.raises(NodeConfigError, match="another"):
            reader.reading()
        node.put("etc/containerd/config.toml", PATH.format(settings.containerd_certs))
        assert reader.reading().doubt == NOT_RESTARTED
        assert reader.reading().doubt == NOT_RESTARTED
    with a_containerd(tmp_path):
        until(lambda: started_at(network) > wrong.stat().st_ctime, why="the restart is seen")
        assert reader.reading().doubt == ""
        # A change of another part needs no restart. A file of an old date may replace the configuration.
        node.put("etc/containerd/config.toml", PATH.format(settings.containerd_certs) + "# more\n")
        assert reader.reading().doubt == ""
        node.put("etc/containerd/new", PATH.format("/etc/another/certs.d"))
        os.utime(node.root / "etc/containerd/new", (time.time() - 3600,) * 2)
        (node.root / "etc/containerd/new").rename(wrong)
        with pytest.raises(NodeConfigError, match="another"):
            reader.reading()
        node.put("etc/containerd/config.toml", PATH.format(settings.containerd_certs))
        assert reader.reading().doubt == NOT_RESTARTED


def test_unknown_starts_are_no_doubt(node: NodeFiles) -> None:
    """Without a dialer the network of the node is unknown, and that is another doubt."""
    assert NodeNetwork().last_start() is None
    assert NodeNetwork(node.root / "no.dialer").last_start() is None
