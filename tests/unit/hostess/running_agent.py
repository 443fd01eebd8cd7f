"""Run an agent in a thread, with a TLS server as its mirror."""

from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING

from common.agent_protocol import State
from hostess.agent import Agent, Deadlines
from hostess.containerd.config_reader import Containerd
from hostess.containerd.runtime import Runtime
from hostess.health.node_network import NodeNetwork
from hostess.health.probe import Probe
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints
from tests.support.kube import until
from tests.unit.hostess.node_files import node_of
from tests.unit.hostess.tls_server import HOST_NAME, Server

if TYPE_CHECKING:
    from tests.unit.hostess.node_files import NodeFiles

UP = MirrorEndpoints(("127.0.0.1",), endpoints=(Endpoint("127.0.0.1", 5000),))  # a single pod is not probed
QUICK = Deadlines(hosts_read=0.5, unreachable=4.0)  # the e2e tests use the default
AWAY = 10.0  # seconds until a dead mirror is withdrawn


class Running:
    """Agent in a thread. The server is its mirror, the test sets its cluster."""

    def __init__(self, node: NodeFiles, server: Server, mirror: str = "one", **changed: str) -> None:
        ca = node.put("secret/ca.crt", server.issuer.certificate)
        node.put("etc/containerd/by-hand")  # so that CONTAINERD_CERTS_DIR counts as right
        environment = node.environment(mirror, SHADOW_FQDN=HOST_NAME, CA_FILE=str(ca), **changed)
        own_node = node_of(environment)
        self.log = io.StringIO()
        log = Log(self.log)
        api = ApiClient("127.0.0.1", 1, node.root)
        network = NodeNetwork(own_node.settings.dialer)
        runtime = Runtime("containerd", (2, 4))
        containerd = Containerd(own_node.settings, api, log, version_read=True, runtime=runtime, network=network)
        self.probe = Probe(HOST_NAME, server.port, network)
        self.agent = Agent(own_node.settings, own_node, self.probe, containerd, log, QUICK)
        self.toml = node.containerd / environment["UPSTREAM_HOST"] / "hosts.toml"
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.agent.run, args=(self.stopping,))

    def start(self, view: MirrorEndpoints | None = UP) -> Running:
        """Start the loop."""
        if view is not None:
            self.agent.update(view)
        self.thread.start()
        return self

    def stop(self) -> None:
        """End the loop."""
        self.stopping.set()
        self.agent.stop()
        self.thread.join()

    def becomes(self, state: State, reason: str, seconds: float = 20) -> float:
        """Wait for a state and reason; return the seconds."""
        began = time.monotonic()
        until(
            lambda: (self.agent.state.state, self.agent.state.reason) == (state, reason),
            why=f"{state} {reason}",
            seconds=seconds,
        )
        return time.monotonic() - began

    def says(self, message: str) -> None:
        """Wait for a message."""
        until(lambda: self.agent.state.message == message, why=message, seconds=20)

    def configured(self) -> None:
        """Wait until the mirror is used."""
        self.becomes(State.CONFIGURED, "Configured")
        assert self.toml.exists()


def wait_withdrawn(one: Running) -> float:
    began = time.monotonic()
    until(lambda: not one.toml.exists(), why="hosts.toml goes", seconds=30)
    took = time.monotonic() - began
    until(lambda: one.agent.state.reason != "Configured", why="the agent has said so")
    return took


def configure_once(node: NodeFiles, server: Server) -> None:
    """Run an agent until the node is configured, then end it."""
    first = Running(node, server).start()
    first.configured()
    first.stop()
