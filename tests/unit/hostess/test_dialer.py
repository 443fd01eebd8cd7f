"""Test the dialer with real sockets: agents probe through it, and it reaches no other service of the node."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import NODE_HEADER, State
from hostess.dialer import Dialer, is_allowed
from hostess.health import node_network
from hostess.health.node_network import NodeNetwork
from hostess.health.probe import Probe, ProbeError
from tests.support.kube import until
from tests.unit.hostess.running_agent import Running
from tests.unit.hostess.tls_server import GOOD, HOST_NAME, Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.hostess.node_files import NodeFiles

IP = "127.0.0.1"


class Serving:
    """A dialer in a thread, which may reach servers of the test."""

    def __init__(self, path: Path, allows: Callable[[str, int], bool] = lambda *_: True) -> None:
        self.dialer = Dialer(path, allows)
        self.thread = threading.Thread(target=self.dialer.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End as the program does."""
        self.dialer.shutdown()
        self.thread.join()
        self.dialer.server_close()
        self.dialer.path.unlink(missing_ok=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mirrors.dialer"


@pytest.fixture
def serving(path: Path) -> Iterator[Serving]:
    serving = Serving(path)
    yield serving
    serving.stop()


@pytest.mark.usefixtures("serving")
def test_probe_goes_through_the_dialer(server: Server, path: Path) -> None:
    """The agent keeps the connection, with TLS of its own."""
    network = NodeNetwork(path)
    assert network.doubt
    Probe(HOST_NAME, server.port, network).check(IP, server.issuer.certificate)
    assert network.doubt == ""
    assert server.connections == 1


@pytest.mark.usefixtures("serving")
def test_dialer_reports_failures_of_the_mirror(server: Server, path: Path) -> None:
    network = NodeNetwork(path)
    probe = Probe(HOST_NAME, server.port, network)
    server.stop()
    with pytest.raises(ProbeError, match="Connection refused"):
        probe.check(IP, server.issuer.certificate)
    assert network.doubt == "", "the node's own network was probed"
    server.start()
    probe.check(IP, server.issuer.certificate)


@pytest.mark.usefixtures("serving")
def test_lost_packets_of_the_node_time_out(server: Server, path: Path) -> None:
    """A full backlog loses packets as a firewall does."""
    with socket.create_server((IP, 0), backlog=0) as listening:
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((IP, port))
        with pytest.raises(ProbeError, match="no answer within 2 s"):
            Probe(HOST_NAME, port, NodeNetwork(path)).check(IP, server.issuer.certificate)
        for each in waiting:
            each.close()


def test_probe_names_the_node_of_its_address(server: Server, path: Path) -> None:
    """Pulls of the node come from the address of the dialer, and not from that of the agent's pod."""
    asked: list[bytes] = []

    def answer(client: ssl.SSLSocket) -> None:
        asked.append(client.recv(4096))
        client.sendall(GOOD)

    server.behave = answer
    probe = Probe(HOST_NAME, server.port, NodeNetwork(path), "node-1")
    probe.check(IP, server.issuer.certificate)
    serving = Serving(path)
    probe.check(IP, server.issuer.certificate)
    serving.stop()
    assert [f"{NODE_HEADER}: node-1".encode() in each for each in asked] == [False, True]


def test_missing_dialer_leaves_a_doubt(server: Server, path: Path) -> None:
    network = NodeNetwork(path)
    Probe(HOST_NAME, server.port, network).check(IP, server.issuer.certificate)
    assert "registrymirror-dialer" in network.doubt
    assert NodeNetwork().doubt == "", "an agent without a dialer counts its own network as the node's"


def test_dialer_that_restarts_leaves_no_doubt(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NodeNetwork(path)
    probe = Probe(HOST_NAME, server.port, network)
    for _ in range(2):
        serving = Serving(path)
        probe.check(IP, server.issuer.certificate)
        serving.stop()
        probe.check(IP, server.issuer.certificate)
        assert network.doubt == ""
    monkeypatch.setattr(node_network, "AWAY", 0.0)
    assert network.doubt


def test_dialer_ends_if_its_socket_is_removed(path: Path) -> None:
    """The kubelet restarts it, and mounts the folder that is on the node now."""
    serving = Serving(path)
    path.unlink()
    serving.thread.join(10)
    assert not serving.thread.is_alive()
    serving.dialer.server_close()


def test_only_root_may_connect(serving: Serving) -> None:
    assert serving.dialer.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("request_", [b"", b"x", b"127.0.0.1", b"127.0.0.1 0x50", b"localhost 443 1", b"\xff 443"])
def test_wrong_request_is_refused(serving: Serving, request_: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(str(serving.dialer.path))
        asking.send(request_)
        reply, descriptors, _, _ = socket.recv_fds(asking, 16, 1)
    assert (reply.isdigit() and reply != b"0") or reply == b""
    assert descriptors == []


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [
        ("10.96.0.7", 443, True),
        ("10.244.1.7", 5000, True),
        ("fd00::7", 443, True),
        ("10.96.0.7", 10250, False),
        ("127.0.0.1", 443, False),
        ("::1", 5000, False),
        ("::ffff:127.0.0.1", 443, False),
        ("169.254.169.254", 443, False),
        ("fe80::1", 443, False),
        ("0.0.0.0", 443, False),  # noqa: S104 - refused
        ("224.0.0.1", 443, False),
    ],
)
def test_dialer_reaches_mirrors_only(address: str, port: int, *, allowed: bool) -> None:
    assert is_allowed(address, port) is allowed


def test_names_are_refused(server: Server, path: Path) -> None:
    """A name server must not decide what an agent reaches."""
    serving = Serving(path, is_allowed)
    try:
        with pytest.raises(ProbeError, match="Invalid argument"):
            Probe("localhost", 443, NodeNetwork(path)).check("localhost", server.issuer.certificate)
    finally:
        serving.stop()


def test_node_without_dialer_is_unverified(node: NodeFiles, server: Server, path: Path) -> None:
    """K1: hosts.toml is written, and the state claims nothing of the node's own network."""
    one = Running(node, server, DIALER_SOCKET=str(path)).start()
    try:
        one.becomes(State.UNVERIFIED, "NodeNetworkNotProbed")
        assert one.toml.exists()
        serving = Serving(path)
        one.configured()
        serving.dialer.allows = lambda *_: False
        until(lambda: not one.toml.exists(), why="the node does not reach the mirror", seconds=30)
        serving.stop()
    finally:
        one.stop()
