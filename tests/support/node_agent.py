"""Run the node agent for a node without a kubelet: the real loop and status server, with files in a folder."""

from __future__ import annotations

import io
import socket
import threading
from typing import TYPE_CHECKING

from common import cache_protocol
from common.agent_protocol import STATUS_PORT, State
from controller.objects import resources, well_known
from hostess.agent import Agent
from hostess.containerd.config_reader import Containerd
from hostess.containerd.runtime import Runtime
from hostess.health.probe import Probe
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.kube.mirror_endpoints import Endpoint, MirrorEndpoints, parse_endpoints
from hostess.node_config import Node
from hostess.status_server import StatusServer
from tests.support.agents import free_address
from tests.support.components import pods_of, set_pod_ready
from tests.support.kube import Kube, text, until
from tests.unit.hostess.node_files import NodeFiles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.conftest import Running

# Seconds between two reports of the pod's readiness.
REPORT_INTERVAL = 0.5


class NodeAgent:
    """The agent of one mirror on one node, and the kubelet of its pod.

    The test names the cache pods, as the node has no Service network.
    """

    def __init__(self, running: Running, mirror: str, node: str, folder: Path) -> None:
        self._running, self._mirror, self._node = running, mirror, node
        self.address = free_address()
        files = NodeFiles(folder)
        masquerade = running.kube.get(resources.MIRROR, mirror)["status"]["masqueradeUrl"]
        secret = running.kube.until_there(resources.SECRET, f"registry-mirror-{mirror}")
        ca = files.put("secret/ca.crt", text(secret, well_known.CA))
        files.put("etc/containerd/by-hand")  # so that CONTAINERD_CERTS_DIR counts as right
        settings = files.settings(mirror, SHADOW_FQDN=masquerade, CA_FILE=str(ca), NODE_NAME=node)
        log, api = Log(io.StringIO()), ApiClient("127.0.0.1", 1, folder)
        containerd = Containerd(settings, api, log, version_read=True, runtime=Runtime("containerd", (2, 4)))
        self.agent = Agent(settings, Node(settings), Probe(masquerade, cache_protocol.PORT), containerd, log)
        self._server = _StatusServer(self.address, node, self.agent)
        self._stopping = threading.Event()
        loops = (self._server.serve_forever, lambda: self.agent.run(self._stopping), self._report)
        self._threads = [threading.Thread(target=each) for each in loops]

    def uses(self, *addresses: str) -> None:
        """Let the mirror have cache pods at these addresses."""
        service = self._running.kube.until_there(resources.SERVICE, f"registry-mirror-{self._mirror}")
        endpoints = tuple(Endpoint(each, cache_protocol.PORT) for each in addresses)
        named = parse_endpoints([service], None).registries
        self.agent.update(MirrorEndpoints(addresses[:1], endpoints=endpoints, registries=named))

    def start(self) -> NodeAgent:
        """Start the agent once its pod exists."""
        until(lambda: pods_of(self._running.kube, self._mirror, "hostess-certificate"), why="the agent has a pod")
        for each in self._threads:
            each.start()
        return self

    def stop(self) -> None:
        """End the agent."""
        self._stopping.set()
        self.agent.stop()
        self._server.shutdown()
        self._server.server_close()
        for each in self._threads:
            each.join()

    def _report(self) -> None:
        """Report the pod's readiness when it changes."""
        kube = Kube(self._running.cluster)
        reported: dict[str, bool] = {}
        while not self._stopping.wait(REPORT_INTERVAL):
            ready = self.agent.reported_state.state is State.CONFIGURED
            for pod in pods_of(kube, self._mirror, "hostess-certificate"):
                if reported.get(pod["metadata"]["uid"]) != ready:
                    set_pod_ready(kube, pod, ready=ready, address=self.address)
                    reported[pod["metadata"]["uid"]] = ready
        kube.close()


class _StatusServer(StatusServer):
    """The agent's status server at one address: each pod of the machine has its own."""

    def __init__(self, address: str, node: str, agent: Agent) -> None:
        super().__init__(0, node, lambda: agent.reported_state, lambda: agent.is_stuck, agent.metrics)
        self.socket.close()
        self.socket = self._bound(address)
        self.server_address = self.socket.getsockname()

    @staticmethod
    def _bound(address: str) -> socket.socket:
        return socket.create_server((address, STATUS_PORT))
