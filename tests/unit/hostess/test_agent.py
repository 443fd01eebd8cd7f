"""The agent's loop with a real node's files and a real TLS server as the mirror."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import REPLACED, State
from hostess.agent import PROBE_INTERVAL, STALE, Agent, Deadlines
from hostess.containerd.config_reader import Containerd
from hostess.fs.atomic import locked
from hostess.health.probe import Probe
from hostess.health.threshold import FailureThreshold
from hostess.json_log import Log
from hostess.kube.api_client import Api
from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints
from hostess.node_config import Node
from tests.support.kube import until
from tests.unit.hostess.a_node import LOCALHOST, ANode
from tests.unit.hostess.a_server import GOOD, HOST_NAME, Server, answering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

UP = MirrorEndpoints(("127.0.0.1",), endpoints=(Endpoint("127.0.0.1", 5000),))  # one alone is asked by the Service
QUICK = Deadlines(hosts_read=0.5, passing=4.0)  # the usual one is proven on the real node
AWAY = 10.0  # seconds within which a dead mirror is to be withdrawn


class Running:
    """An agent in a thread, whose mirror is the server and whose cluster is what the test says."""

    def __init__(self, node: ANode, server: Server, mirror: str = "one", **changed: str) -> None:
        authority = node.put("secret/ca.crt", server.issuer.certificate)
        settings = node.settings(mirror, SHADOW_FQDN=HOST_NAME, AUTHORITY_FILE=str(authority), **changed)
        self.log = io.StringIO()
        log = Log(self.log)
        containerd = Containerd(settings, Api("127.0.0.1", 1, node.root), log, asked=True)
        self.probe = Probe(HOST_NAME, server.port)
        self.agent = Agent(settings, Node(settings), self.probe, containerd, log, QUICK)
        self.toml = node.containerd / settings.upstream_host / "hosts.toml"
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.agent.run, args=(self.stopping,))

    def start(self, view: MirrorEndpoints | None = UP) -> Running:
        """The loop runs."""
        if view is not None:
            self.agent.changed(view)
        self.thread.start()
        return self

    def stop(self) -> None:
        """The loop ends."""
        self.stopping.set()
        self.agent.stop()
        self.thread.join()

    def says(self, state: State, reason: str, seconds: float = 20) -> float:
        """Waits for this verdict; seconds that it took."""
        began = time.monotonic()
        until(
            lambda: (self.agent.verdict.state, self.agent.verdict.reason) == (state, reason),
            why=f"{state} {reason}",
            seconds=seconds,
        )
        return time.monotonic() - began

    def configured(self) -> None:
        """The mirror is used."""
        self.says(State.CONFIGURED, "Configured")
        assert self.toml.exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def node(tmp_path: Path) -> ANode:
    return ANode(tmp_path / "node")


@pytest.fixture
def one(node: ANode, server: Server) -> Iterator[Running]:
    running = Running(node, server)
    yield running
    if running.thread.ident is not None:
        running.stop()


def withdrawn(one: Running) -> float:
    began = time.monotonic()
    until(lambda: not one.toml.exists(), why="hosts.toml goes", seconds=30)
    took = time.monotonic() - began
    until(lambda: one.agent.verdict.reason != "Configured", why="the agent has said so")
    return took


def test_a_mirror_that_refuses_is_withdrawn_and_comes_back(one: Running, server: Server) -> None:
    one.start().configured()
    server.stop()
    took = withdrawn(one)
    assert took < AWAY
    one.says(State.PENDING, "MirrorUnreachable")
    server.start()
    one.configured()
    print(f"withdrawn in {took:.1f} s")  # noqa: T201 (a figure for the report)


@pytest.mark.parametrize("variable", ["NODE_NAME", "KUBERNETES_SERVICE_HOST"])
def test_a_mirror_takes_neither_the_nodes_name_nor_the_api_servers(node: ANode, server: Server, variable: str) -> None:
    node.agent(SHADOW_FQDN=HOST_NAME).configure(("10.96.0.7",), b"ca", None)
    named = Running(node, server, **{variable: HOST_NAME}).start()
    try:
        named.says(State.BLOCKED, "ReservedName")
        assert node.hosts.read_bytes() == LOCALHOST
        assert not named.toml.exists()
        named.agent.changed(MirrorEndpoints(("127.0.0.1",), cleaning=True))
        named.says(State.CLEANED, "Cleaned")
    finally:
        named.stop()


@pytest.mark.parametrize("how", ["at the handshake", "after the request"])
def test_a_mirror_that_hangs_is_withdrawn_and_comes_back(one: Running, server: Server, how: str) -> None:
    one.start().configured()
    server.stop()
    good, server.behave = server.behave, None if how == "at the handshake" else answering(b"")
    server.start()
    took = withdrawn(one)
    assert took < AWAY
    server.stop()
    server.behave = good
    server.start()
    one.configured()
    print(f"withdrawn in {took:.1f} s")  # noqa: T201 (as above)


def test_what_only_some_runtimes_need_is_not_made_before_the_runtime_is_asked_for(one: Running, node: ANode) -> None:
    """A restarted agent knows the mirror at once and would leave the link on nodes that have no use for it."""
    roots = f"{node.containerd}:{node.docker}"
    literal, section = Path(roots), '[plugins."io.containerd.grpc.v1.cri".registry]'
    node.put("etc/containerd/config.toml", f'{section}\nconfig_path = "{roots}"\n')
    one.agent.containerd.asked = False
    one.start().says(State.PENDING, "RuntimeUnknown")
    assert one.toml.exists()
    assert not literal.is_symlink()
    one.agent.containerd.ask()  # in vain, since there is no API server: then it may be one that needs it
    one.configured()
    assert literal.is_symlink()


def test_without_ready_pods_it_is_withdrawn_without_being_asked(one: Running) -> None:
    one.start().configured()
    one.agent.changed(MirrorEndpoints(UP.addresses, endpoints=()))
    assert withdrawn(one) < 2
    one.says(State.CONFIGURED, "MirrorAway")
    one.agent.changed(UP)
    one.configured()


def test_a_ready_mirror_that_stays_silent_is_told_to_a_person(one: Running, server: Server) -> None:
    one.start().configured()
    server.stop()
    one.says(State.BLOCKED, "MirrorUnreachable", seconds=40)
    assert "refused" in one.agent.verdict.message


def test_cleaned_it_leaves_nothing_and_says_so_until_the_mirror_is_back(
    one: Running, node: ANode, server: Server
) -> None:
    before = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    one.start().configured()
    server.stop()
    one.agent.changed(MirrorEndpoints(UP.addresses, cleaning=True, endpoints=()))
    one.says(State.CLEANED, "Cleaned")
    after = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    assert after == before
    server.start()
    one.agent.changed(UP)
    one.configured()


def test_cleaned_it_stays_clean_when_the_service_goes_before_the_agent(one: Running) -> None:
    one.start().configured()
    one.agent.changed(MirrorEndpoints(UP.addresses, cleaning=True, endpoints=UP.endpoints))
    one.says(State.CLEANED, "Cleaned")
    one.agent.changed(MirrorEndpoints())
    end = time.monotonic() + 1.5 * PROBE_INTERVAL
    while time.monotonic() < end:
        assert not one.toml.exists()


def test_a_restarted_agent_finds_the_mirror_without_the_api_server(node: ANode, server: Server) -> None:
    first = Running(node, server).start()
    first.configured()
    first.stop()
    second = Running(node, server).start(view=None)
    second.configured()
    server.stop()
    assert withdrawn(second) < AWAY
    second.stop()


def test_a_restarted_agent_withdraws_a_mirror_that_died_meanwhile(node: ANode, server: Server) -> None:
    first = Running(node, server).start()
    first.configured()
    first.stop()
    server.stop()
    second = Running(node, server).start(view=None)
    assert withdrawn(second) < AWAY
    second.stop()


@pytest.mark.parametrize("view", [None, MirrorEndpoints()], ids=["without the API server", "whose Service is gone"])
def test_a_dead_mirror_is_found_in_a_hosts_file_that_could_not_be_read_at_first(
    node: ANode, server: Server, view: MirrorEndpoints | None
) -> None:
    """Somebody was just writing it."""
    first = Running(node, server).start()
    first.configured()
    first.stop()
    server.stop()
    written = node.hosts.read_bytes()
    node.hosts.write_bytes(LOCALHOST)
    second = Running(node, server).start(view)
    try:
        second.says(State.PENDING, "MirrorUnknown")
        assert second.toml.exists()
        node.hosts.write_bytes(written)
        assert withdrawn(second) < AWAY
    finally:
        second.stop()


def test_a_service_that_is_told_while_the_mirror_is_asked_is_not_gone(node: ANode, server: Server) -> None:
    first = Running(node, server).start()
    first.configured()
    first.stop()
    second = Running(node, server)

    def told_meanwhile(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        second.agent.changed(UP)
        client.sendall(GOOD)

    server.behave = told_meanwhile
    second.start(view=None).configured()
    second.stop()
    assert "ServiceGone" not in second.log.getvalue()


def test_two_mirrors_agents_share_a_node(node: ANode, server: Server) -> None:
    agents = [Running(node, server, mirror).start() for mirror in ("one", "two")]
    for agent in agents:
        agent.configured()
    agents[0].agent.changed(MirrorEndpoints(cleaning=True))
    agents[0].says(State.CLEANED, "Cleaned")
    assert agents[1].toml.exists()
    agents[1].configured()
    for agent in agents:
        agent.stop()


def test_what_hinders_is_told_and_over_once_it_is_mended(one: Running, node: ANode) -> None:
    path = node.put("etc/docker/certs.d/one.example.com/hosts.toml")
    one.start()
    one.says(State.BLOCKED, "ExistingHostsToml")
    path.unlink()
    one.configured()
    node.hosts.rename(node.hosts.with_name("away"))
    one.says(State.BLOCKED, "NodeFilesUnwritable")
    assert str(node.hosts) in one.agent.verdict.message
    node.hosts.with_name("away").rename(node.hosts)
    one.configured()
    assert node.hosts.read_bytes().startswith(LOCALHOST)


def test_without_the_authority_nobody_can_ask_and_the_mirror_is_withdrawn(one: Running, node: ANode) -> None:
    one.start().configured()
    (node.root / "secret/ca.crt").unlink()
    assert withdrawn(one) < AWAY
    one.says(State.PENDING, "MirrorUnknown")


def test_whose_hosts_file_was_replaced_asks_for_a_new_pod(node: ANode, server: Server) -> None:
    """And does not end: for a restart in its pod the runtime may make a directory where the hosts file was."""
    with node.hosts.open("r+b") as mounted:
        replaced = Running(node, server, HOSTS_FILE=f"/proc/self/fd/{mounted.fileno()}").start()
        replaced.configured()
        node.put("etc/new", LOCALHOST).rename(node.hosts)
        replaced.says(State.PENDING, REPLACED)
        server.stop()
        assert withdrawn(replaced) < AWAY
        assert replaced.thread.is_alive()
        replaced.stop()
    assert node.hosts.read_bytes() == LOCALHOST


def test_whose_folder_was_removed_asks_for_a_new_pod(node: ANode, server: Server) -> None:
    """As where containerd is installed anew."""
    node.containerd.parent.mkdir(parents=True, exist_ok=True)
    mounted = os.open(node.containerd.parent, os.O_RDONLY)
    removed = Running(node, server, CONTAINERD_CERTS_DIR=f"/proc/self/fd/{mounted}/certs.d").start()
    removed.configured()
    shutil.rmtree(node.containerd.parent)
    removed.says(State.PENDING, REPLACED)
    removed.stop()
    os.close(mounted)


def test_a_dead_mirror_is_withdrawn_whoever_holds_the_lock(one: Running, server: Server) -> None:
    one.start().configured()
    with locked(one.agent.settings.lock_file):
        server.stop()
        assert withdrawn(one) < AWAY


def replicas(*servers: Server) -> MirrorEndpoints:
    """A Service that leads to the first of these cache pods, all of which are Ready."""
    return MirrorEndpoints(UP.addresses, endpoints=tuple(Endpoint("127.0.0.1", each.port) for each in servers))


def test_one_of_several_replicas_that_hangs_while_it_is_ready_withdraws_the_mirror(
    one: Running, server: Server, tmp_path: Path
) -> None:
    """The runtime may have been given just that one by the Service; a pod that is not Ready is nobody's."""
    with Server(tmp_path, server.issuer) as second:
        one.start(replicas(server, second)).configured()
        asked = second.connections
        second.stop()
        good, second.behave = second.behave, None
        second.start()
        assert withdrawn(one) < AWAY
        assert asked > 0
        one.says(State.PENDING, "MirrorUnreachable")
        assert "one of its cache pods, at 127.0.0.1: no answer" in one.agent.verdict.message
        one.agent.changed(replicas(server))
        one.configured()
        one.agent.changed(replicas(server, second))
        withdrawn(one)
        second.stop()
        second.behave = good
        second.start()
        one.configured()


def test_many_replicas_that_are_slow_hold_up_no_look_for_long(one: Running, server: Server) -> None:
    """Ten that take a second each, and more, would have the agent called stuck; a tenth of the times here."""

    def slowly(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        time.sleep(0.4)
        client.sendall(GOOD)

    server.behave = slowly
    one.agent.deadlines = replace(QUICK, pods=1.0)
    began = time.monotonic()
    one.start(replicas(*[server] * 10))
    until(lambda: "too slow to be asked within 1 s" in one.agent.verdict.message, why="it says so")
    # The Service's answer, three of the pods, and slack for a slow machine: ten would take 4.4 s.
    assert time.monotonic() - began < 3.5


def test_a_replica_that_a_rollout_takes_away_withdraws_nothing(one: Running, server: Server, tmp_path: Path) -> None:
    """Its end is in the view before it is in the answers."""
    with Server(tmp_path, server.issuer) as second:
        one.start(replicas(server, second)).configured()
        one.agent.changed(replicas(server))
    end = time.monotonic() + 2 * PROBE_INTERVAL
    while time.monotonic() < end:
        assert one.toml.exists()


def test_a_loop_that_is_stuck_says_so_instead_of_its_last_word(one: Running) -> None:
    one.start().configured()
    assert not one.agent.is_stuck
    one.stop()
    one.agent._looked_at -= STALE + 1
    assert one.agent.is_stuck
    assert (one.agent.word.state, one.agent.word.reason) == (State.BLOCKED, "AgentStuck")
    assert one.agent.verdict.reason == "Configured"


def test_removed_mirror_leaves_nothing_after_the_loop(one: Running, node: ANode) -> None:
    before = {path: content for path, content in node.tree().items() if not path.startswith("secret")}
    one.start().configured()
    one.stop()
    assert one.toml.exists()
    one.agent.remove_mirror("Service deleted")
    assert {path: content for path, content in node.tree().items() if not path.startswith("secret")} == before


def test_removal_removes_hosts_toml_while_lock_is_held(one: Running) -> None:
    one.start().configured()
    one.stop()
    with locked(one.agent.settings.lock_file):
        one.agent.remove_mirror("Service deleted")
    assert not one.toml.exists()
    assert "node cleanup failed" in one.log.getvalue()


def test_loop_ends_without_writing_after_a_probe(one: Running, server: Server) -> None:
    """A probe that fails while the agent ends withdraws nothing: a rollout leaves the node as it is."""
    one.start().configured()

    def stop_meanwhile(client: ssl.SSLSocket) -> None:
        client.recv(4096)
        one.stopping.set()
        client.close()

    server.behave = stop_meanwhile
    one.agent._liveness = FailureThreshold(alive=True, contrary=1)
    one.thread.join(10)
    assert not one.thread.is_alive()
    assert one.toml.exists()


@pytest.mark.parametrize(("view", "expected"), [(None, False), (UP, False), (MirrorEndpoints(removed=True), True)])
def test_watch_tells_if_the_service_was_removed(one: Running, view: MirrorEndpoints | None, expected: bool) -> None:  # noqa: FBT001
    if view is not None:
        one.agent.changed(view)
    assert one.agent.saw_removal is expected
