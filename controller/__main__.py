"""`python -m controller`: read the environment, connect the parts and run them until SIGTERM.

`python -m controller drain` deletes all mirrors, before the system is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING

from common import agent_protocol, cache_protocol
from common.logs import Logger, logger
from common.metrics import new_registry
from common.settings import SettingsError, read
from common.version import VERSION
from controller.apply.applier import Applier
from controller.caches.cache_poller import CachePoller
from controller.certificates.expiry import ExpiryWarner
from controller.certificates.webhook_certificate import Admission
from controller.drain import Drain
from controller.faults.fault_finder import FaultFinder
from controller.health import application, served
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.client import KubeClient
from controller.kubeclient.config import load_configuration
from controller.kubeclient.errors import ClusterError
from controller.leader_election import Leadership
from controller.manager import Manager, reflectors
from controller.metrics import Metrics
from controller.nodes.agent_client import Agents
from controller.objects.lease import REQUEST_TIMEOUT, Election
from controller.objects.well_known import ADMISSION_KEY
from controller.pod_http import http_fetch
from controller.reconcile.node_cleanup import NodeCleanup
from controller.reconcile.reconciler import Reconciler
from controller.settings import ControllerSettings, former_variables
from controller.state_collector import StateCollector
from controller.status.events import Recorder
from controller.storage.resizer import Storage
from controller.workqueue.workers import KeyQueue, Workers

if TYPE_CHECKING:
    from kubernetes.aio import client

    from controller.model.results import Outcome
    from controller.pod_http import Fetch
    from controller.status.failures import Failure

DRAIN_TIMEOUT = 300.0  # seconds; more than the default of NODE_CLEANUP_DEADLINE
WRONG_SETTINGS = 2  # exit status of a command with wrong arguments


async def run(settings: ControllerSettings, configuration: client.Configuration, log: Logger) -> None:
    """Run the controller until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with KubeClient(configuration, request_timeout=REQUEST_TIMEOUT) as lease_client:
        identity = f"{settings.identity or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        leadership = Leadership(lease_client, settings.namespace, Election(identity), log)
        async with (
            KubeClient(configuration, leadership.check) as cluster,
            http_fetch(agent_protocol.STATUS_PORT, agent_protocol.STATUS_PATH) as fetch_agent,
            http_fetch(cache_protocol.STATUS_PORT, cache_protocol.STATUS_PATH) as fetch_cache,
        ):
            agents = Agents(cluster, settings.namespace, fetch_agent)
            manager = _manager(cluster, leadership, agents, fetch_cache, settings, log)
            app = application(manager.metrics.registry, manager.not_ready)
            async with served(app, settings.metrics_port):
                where = {"namespace": settings.namespace, "port": settings.metrics_port}
                log.info("started", version=VERSION, **where, identity=identity)
                await manager.run(stopping)
    log.info("stopped")


def _manager(
    cluster: KubeClient,
    leadership: Leadership,
    agents: Agents,
    fetch_cache: Fetch,
    settings: ControllerSettings,
    log: Logger,
) -> Manager:
    metrics, keys = Metrics(new_registry()), KeyQueue()
    shared = frozenset({settings.docker_certificate_secret} if settings.docker_certificate_secret else ())
    state = ClusterCache(keys.enqueue, shared, settings.masquerade_domains)
    state.leases.listen(leadership.notice)
    recorder = Recorder(cluster, leadership.election.identity, log)
    applier = Applier(cluster, settings.namespace, state, time.monotonic)
    storage = Storage(cluster, settings.namespace, state, time.monotonic)
    caches = CachePoller(state.cache_pods, keys.enqueue, fetch_cache, log)
    node_cleanup = NodeCleanup(cluster, settings, state, applier, agents, recorder, time.monotonic)
    faults = FaultFinder(cluster, settings.namespace)
    mirrors = Reconciler(cluster, settings, state, applier, storage, recorder, agents, node_cleanup, caches, faults)
    expiry_warner = ExpiryWarner(state, settings.lifetimes.warning, log)
    admission = Admission(cluster, settings, state, expiry_warner, log)

    async def reconcile(key: str) -> Outcome:
        return await (admission.reconcile() if key == ADMISSION_KEY else mirrors.reconcile(key))

    async def report_failure(key: str, failure: Failure) -> None:
        if key == ADMISSION_KEY:
            admission.report_failure()
        else:
            await mirrors.report_failure(key, failure)

    def forget() -> None:
        admission.forget()
        mirrors.memories.clear()

    workers = Workers(keys, reconcile, report_failure, log, metrics)
    metrics.registry.register(StateCollector(state, keys.queue, leadership.leads))
    watched = reflectors(cluster, settings, state, log, metrics)
    return Manager(watched, state, leadership, workers, caches, recorder, metrics, forget)


async def drain(settings: ControllerSettings, configuration: client.Configuration, seconds: float) -> bool:
    """Delete all mirrors; return True once none is left."""
    async with KubeClient(configuration) as cluster:
        return await Drain(cluster, settings.namespace, partial(print, flush=True)).run(seconds)


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 after SIGTERM, 1 without access to a cluster, 2 for wrong settings.

    With the argument `drain` it is 0 once no mirror is left, and 1 if the time is over.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = read(ControllerSettings, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"controller: wrong settings:\n{error}\n")
        return WRONG_SETTINGS
    log = logger(settings.log_level, "controller")
    for name, advice in former_variables(os.environ).items():
        log.warning("setting ignored", variable=name, advice=advice)
    try:
        configuration = asyncio.run(load_configuration(settings.kubeconfig))
        if options.command == "drain":
            return 0 if asyncio.run(drain(settings, configuration, options.timeout)) else 1
    except ClusterError as error:
        sys.stderr.write(f"controller: {error}\n")
        return 1
    asyncio.run(run(settings, configuration, log))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller", description="Run the controller of registry-mirror.")
    command = parser.add_subparsers(dest="command", metavar="COMMAND").add_parser(
        "drain", help="delete all RegistryMirrors and wait until the nodes are clean"
    )
    command.add_argument("--timeout", type=float, default=DRAIN_TIMEOUT, metavar="SECONDS", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
