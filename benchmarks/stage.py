"""Start stages for measurements: each is a new API server with etcd and our manifests."""

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
    """A cluster with our manifests and programs."""

    cluster: Cluster
    system: System

    @property
    def controller(self) -> Usage:
        """Return the controller's process."""
        return Usage(self.system.processes, "controller")

    @property
    def api_server(self) -> Usage:
        """Return the API server's process."""
        return Usage(Processes(self.cluster.folder), API_SERVER)

    def reconciles(self) -> float:
        """Return the number of reconciles since the controller's start, or 0 if it does not answer."""
        return sum(map(float, _RECONCILES.findall(page(self.system.metrics_port, "/metrics") or "")))

    def start_controller(self) -> None:
        """Start the controller, and wait until it leads and has created its CAs."""
        self.system.start_controller()
        self.system.processes.wait_ready("controller", lambda: self.reconciles() > 0)

    def audit(self) -> Audit:
        """Return an audit of requests from now on."""
        return Audit(self.cluster.audit_log)

    def register_webhook(self) -> None:
        """Start the webhook and register it for RegistryMirrors."""
        self.system.install()
        self.system.start_secret_sync()
        self.system.start_webhook()

    def unregister_webhook(self) -> None:
        """Delete the webhook configurations."""
        self.cluster.run_kubectl("delete", *_CONFIGURATIONS)


@contextmanager
def a_stage(*, full: bool = False) -> Iterator[Stage]:
    """Yield a new cluster with our manifests, without a webhook. `full` adds Kubernetes' controllers and scheduler."""
    with (
        TemporaryDirectory(prefix="benchmark-") as folder,
        Cluster(Path(folder) / "cluster").start(controllers=full, scheduler=full) as cluster,
    ):
        system = System(cluster)
        try:
            stage = Stage(cluster, system.install())
            stage.unregister_webhook()
            yield stage
        finally:
            system.stop()
