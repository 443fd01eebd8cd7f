"""Run the node agent: read the environment, wire the parts, run them until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from common.version import VERSION
from hostess.agent import Agent
from hostess.containerd.config_reader import Containerd
from hostess.health.node_network import NodeNetwork
from hostess.health.probe import HTTPS, Probe
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.kube.mirror_endpoints import parse_endpoints
from hostess.kube.removal import removal_reason
from hostess.kube.watcher import Reflector
from hostess.leftovers import Leftovers
from hostess.node_config import Node
from hostess.node_of_original import NodeOfOriginal
from hostess.settings import SettingsError, read
from hostess.status_server import StatusServer

if TYPE_CHECKING:
    from common.types import Json
    from hostess.settings import Settings


WRONG_SETTINGS: Final = 2  # exit status, as of a command that was called wrongly
# Bytes of a thread's stack. The default of 8 MB is only reserved, but counts against strict limits.
STACK: Final = 512 * 1024


def run(settings: Settings, log: Log, stopping: threading.Event) -> None:
    """Run the agent until `stopping`, then clean the node if the mirror was removed."""
    api = ApiClient(settings.api_host, settings.api_port, settings.account)
    network = NodeNetwork(settings.dialer)
    containerd = Containerd(settings, api, log, network=network)
    node = NodeOfOriginal(settings) if settings.beside_original else Node(settings)
    probe = Probe(settings.masquerade, HTTPS, network, settings.node_name)
    agent = Agent(settings, node, probe, containerd, log)
    leftovers = Leftovers(node, api, log, lambda: agent.knows_mirror)
    status = StatusServer(
        settings.status_port, settings.node_name, lambda: agent.reported_state, lambda: agent.is_stuck, agent.metrics
    )
    seen: dict[str, list[Json]] = {}
    lock = threading.Lock()  # keeps updates in order

    def publish(resource: str, objects: list[Json]) -> None:
        with lock:
            seen[resource] = objects
            if "services" in seen:
                agent.update(parse_endpoints(seen["services"], seen.get("endpointslices")))

    def stop() -> None:
        stopping.set()
        agent.stop()

    def on_signal(*_: object) -> None:
        # Not here: the interrupted main thread may hold the lock of the event.
        threading.Thread(target=stop, daemon=True).start()

    for resource, (path, selector) in _collections(settings).items():
        reflector = Reflector(api, path, selector, partial(publish, resource), log, stopping)
        threading.Thread(target=reflector.run, name=resource, daemon=True).start()
    for name, part in (("containerd", containerd), ("leftovers", leftovers)):
        threading.Thread(target=part.run, args=(stopping,), name=name, daemon=True).start()
    threading.Thread(target=status.serve_forever, name="status", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    log.info("started", version=VERSION, mirror=settings.mirror, node=settings.node_name)
    try:
        agent.run(stopping)
        agent.cleanup.finish(lambda: removal_reason(api, settings, seen=agent.saw_removal))
    finally:
        status.server_close()


def _collections(settings: Settings) -> dict[str, tuple[str, dict[str, str]]]:
    """Return path and selector of each watched collection: only objects of this mirror."""
    namespace = f"namespaces/{settings.namespace}"
    return {
        "services": (f"/api/v1/{namespace}/services", {"fieldSelector": f"metadata.name={settings.service}"}),
        "endpointslices": (
            f"/apis/discovery.k8s.io/v1/{namespace}/endpointslices",
            {"labelSelector": f"kubernetes.io/service-name={settings.service}"},
        ),
    }


def main() -> int:
    """Return the exit status: 0 after SIGTERM, 2 for wrong settings."""
    try:
        settings = read(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"hostess: wrong settings:\n{error}\n")
        return WRONG_SETTINGS
    log = Log(program="hostess")
    threading.stack_size(STACK)
    run(settings, log, threading.Event())
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
