"""Fake agents for nodes without a kubelet: real HTTP servers, whose pods a test reports as running."""

from __future__ import annotations

import itertools
import json
import os
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from common.agent_protocol import STATUS_PORT
from controller.objects import resources
from tests.support.components import pods_of, set_pod_ready
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json


# Each test process uses its own part of 127.0.0.0/8.
_ADDRESSES = itertools.count(10)


def free_address() -> str:
    """Return a free loopback address."""
    number = next(_ADDRESSES)
    return f"127.{1 + os.getpid() // 250 % 250}.{1 + os.getpid() % 250}.{number}"


class Agent:
    """Agent of one node, with a state that the test sets."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.address = free_address()
        self.says: Json = {"state": "pending", "reason": "Starting", "message": "It has just started."}
        self.asked = 0
        self._server: ThreadingHTTPServer | None = None

    def say(self, state: str, reason: str, message: str) -> None:
        """Set the answer."""
        self.says = {"state": state, "reason": reason, "message": message}

    def start(self) -> Agent:
        """Start to answer."""
        server = ThreadingHTTPServer((self.address, STATUS_PORT), self._handler())
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop all agents."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                agent.asked += 1
                body = json.dumps({**agent.says, "node": agent.node}).encode()
                self.send_response(200 if agent.says["state"] == "configured" else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
                """Log nothing."""

        return Handler


@dataclass
class Nodes:
    """Nodes without a kubelet, each with an agent of one mirror."""

    kube: Kube
    mirror: str
    agents: dict[str, Agent]

    def __iter__(self) -> Iterator[Agent]:
        return iter(self.agents.values())

    def pods(self) -> dict[str, Json]:
        """Return the agents' pods by node."""
        found = pods_of(self.kube, self.mirror, "hostess-certificate")
        return {pod["spec"]["nodeName"]: pod for pod in found if "nodeName" in pod["spec"]}

    def run(self, *, ready: bool = False) -> Nodes:
        """Start each agent and report its pod as running at its address."""
        until(lambda: self.agents.keys() <= self.pods().keys(), why="each node has a pod")
        for node, agent in self.agents.items():
            agent.start()
            self.report(node, ready=ready)
        return self

    def report(self, node: str, *, ready: bool) -> None:
        """Report the pod of a node as a kubelet does."""
        set_pod_ready(self.kube, self.pods()[node], ready=ready, address=self.agents[node].address)

    def is_cleaning(self) -> bool:
        """Return True if the mirror's Service has the cleaning annotation with the mirror's UID."""
        service = self.kube.find(resources.SERVICE, f"registry-mirror-{self.mirror}")
        mirror = self.kube.find(resources.MIRROR, self.mirror)
        order = ((service or {}).get("metadata", {}).get("annotations") or {}).get("k8s.osp.tech/cleaning")
        return order is not None and mirror is not None and order == mirror["metadata"]["uid"]

    def stop(self) -> None:
        """Stop all agents."""
        for agent in self:
            agent.stop()
