"""`python -m controller`: reads the environment, wires the parts, runs them until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
import uuid
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from common.logs import Logger, logger
from common.settings import SettingsError, read
from controller.admission import Admission
from controller.agents import Agents, http_door
from controller.apply import Applier
from controller.cleaning import Cleaner
from controller.cluster import Cluster
from controller.connection import load_configuration
from controller.contest import Contest
from controller.election import REQUEST_TIMEOUT, Election
from controller.ends import Ends
from controller.errors import ClusterError
from controller.events import Recorder
from controller.leadership import Leadership
from controller.manager import Manager, watches
from controller.metrics import Metrics, StateCollector
from controller.probing.prober import Prober
from controller.quarrels import Quarrels
from controller.reconcile import Reconciler
from controller.server import application, served
from controller.settings import ControllerSettings
from controller.state import ADMISSION_KEY, State
from controller.stopwatches import Stopwatches
from controller.storage import Storage
from controller.workers import Inbox, Workers

if TYPE_CHECKING:
    from kubernetes.aio import client

    from controller.failing import Failure
    from controller.outcomes import Outcome

WRONG_SETTINGS = 2  # exit status, as of a command that was called wrongly


async def run(settings: ControllerSettings, configuration: client.Configuration, log: Logger) -> None:
    """The controller, from its parts to its end."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with Cluster(configuration, request_timeout=REQUEST_TIMEOUT) as lease_door:
        identity = f"{settings.identity or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        leadership = Leadership(lease_door, settings.namespace, Election(identity), log)
        async with Cluster(configuration, leadership.check) as cluster, http_door() as door:
            agents = Agents(cluster, settings.namespace, door)
            manager = _assembled(cluster, leadership, agents, settings, log)
            app = application(manager.metrics.registry, manager.not_ready)
            async with served(app, settings.metrics_port):
                log.info("started", namespace=settings.namespace, port=settings.metrics_port, identity=identity)
                await manager.run(stopping)
    log.info("stopped")


def _assembled(
    cluster: Cluster, leadership: Leadership, agents: Agents, settings: ControllerSettings, log: Logger
) -> Manager:
    metrics, inbox, stopwatches = Metrics(CollectorRegistry()), Inbox(), Stopwatches()
    shared = frozenset({settings.docker_certificate_secret} if settings.docker_certificate_secret else ())
    state = State(inbox.enqueue, shared, settings.masquerade_domains)
    state.leases.listen(leadership.notice)
    recorder = Recorder(cluster, leadership.election.identity, log)
    applier = Applier(cluster, settings.namespace, state, Contest(), stopwatches, time.monotonic)
    storage = Storage(cluster, settings.namespace, state, time.monotonic, stopwatches)
    prober = Prober(settings, inbox.enqueue, log)
    cleaner = Cleaner(cluster, settings, state, applier, agents, recorder, time.monotonic)
    mirrors = Reconciler(cluster, settings, state, applier, storage, recorder, agents, cleaner, prober, stopwatches)
    quarrels, ends = Quarrels(Contest(), time.monotonic, log), Ends(state, settings.lifetimes.warning, log)
    admission = Admission(cluster, settings, state, stopwatches, quarrels, ends, log)

    async def reconcile(key: str) -> Outcome:
        return await (admission.reconcile() if key == ADMISSION_KEY else mirrors.reconcile(key))

    async def tell(key: str, failure: Failure) -> None:
        if key == ADMISSION_KEY:
            admission.tell()
        else:
            await mirrors.tell(key, failure)

    workers = Workers(inbox, reconcile, tell, log, metrics)
    metrics.registry.register(StateCollector(state, inbox.queue))
    followed = watches(cluster, settings, state, log, metrics)
    return Manager(followed, state, leadership, workers, prober, recorder, metrics, stopwatches)


def main() -> int:
    """Returns the exit status: 0 after SIGTERM, 2 for wrong settings, 1 where there is no way to the cluster."""
    try:
        settings = read(ControllerSettings, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"controller: wrong settings:\n{error}\n")
        return WRONG_SETTINGS
    log = logger(settings.log_level, "controller")
    try:
        configuration = asyncio.run(load_configuration(settings.kubeconfig))
    except ClusterError as error:
        sys.stderr.write(f"controller: {error}\n")
        return 1
    asyncio.run(run(settings, configuration, log))
    return 0


if __name__ == "__main__":
    sys.exit(main())
