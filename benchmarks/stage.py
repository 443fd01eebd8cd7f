"""The stages that figures are taken on: a fresh API server with etcd each, and the system on it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.audit import Audit
from benchmarks.usage import Usage
from tests.localcluster.cluster import Cluster
from tests.localcluster.commands import API_SERVER
from tests.localcluster.pages import page
from tests.localcluster.processes import Processes
from tests.localcluster.system import CONTROLLER, NAMESPACE, System

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROLLER_USER: Final = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
_CONFIGURATIONS: Final = (
    "mutatingwebhookconfigurations/registrymirror",
    "validatingwebhookconfigurations/registrymirror",
)

_RECONCILES: Final = re.compile(r'^registrymirror_reconcile_total\{result="\w+"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """A cluster with the manifests applied, and what runs on it."""

    cluster: Cluster
    system: System

    @property
    def controller(self) -> Usage:
        """The controller's process."""
        return Usage(self.system.processes, "controller")

    @property
    def api_server(self) -> Usage:
        """The API server's process."""
        return Usage(Processes(self.cluster.folder), API_SERVER)

    def reconciles(self) -> float:
        """Passes of the controller since its start, whatever their result; 0 while it does not answer."""
        return sum(map(float, _RECONCILES.findall(page(self.system.metrics_port, "/metrics") or "")))

    def start_controller(self) -> None:
        """Starts the controller; returns when it leads and has made its authorities, so that a burst finds it idle."""
        self.system.start_controller()
        self.system.processes.wait_ready("controller", lambda: self.reconciles() > 0)

    def audit(self) -> Audit:
        """What is asked from now on."""
        return Audit(self.cluster.audit_log)

    def register_webhook(self) -> None:
        """Has the webhook asked about each RegistryMirror."""
        self.system.install()
        self.system.start_courier()
        self.system.start_webhook()

    def unregister_webhook(self) -> None:
        """Has the webhook not asked any more."""
        self.cluster.run_kubectl("delete", *_CONFIGURATIONS)


@contextmanager
def a_stage(*, full: bool = False) -> Iterator[Stage]:
    """A fresh cluster with our manifests, without a webhook; `full` has Kubernetes' controllers and scheduler too."""
    with (
        TemporaryDirectory(prefix="benchmark-") as folder,
        Cluster(Path(folder) / "cluster").start(controllers=full, scheduler=full) as cluster,
    ):
        # The upstreams here do not exist: looking their names up would measure this machine's name servers.
        system = System(cluster, {"UPSTREAM_PROBE_SECONDS": "0"})
        try:
            stage = Stage(cluster, system.install())
            stage.unregister_webhook()
            yield stage
        finally:
            system.stop()
