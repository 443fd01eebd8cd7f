"""Run a controller whose connection to the API server goes through a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.objects import resources
from tests.localcluster.commands import API_SERVER
from tests.localcluster.probe import port_of
from tests.localcluster.system import CONTROLLER, NAMESPACE
from tests.support.faults import complete, events_of, leads, normal_form, one
from tests.support.kube import until
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.cluster.conftest import Running

USER: Final = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
GROUPS: Final = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
MANY: Final = 12  # mirrors of a batch


def proxy_before(running: Running) -> Proxy:
    """Return a proxy before the API server."""
    return Proxy(port_of(running.system.processes.record(API_SERVER).argv))


class Proxied:
    """Run a controller behind a proxy."""

    def __init__(self, running: Running, proxy: Proxy) -> None:
        self.running, self.proxy, self.kube = running, proxy, running.kube
        running.system.start_controller(KUBECONFIG=str(proxy.kubeconfig(running.cluster, USER, GROUPS)))

    def create(self, batch: str, number: int = MANY) -> list[str]:
        """Create mirrors and return their names."""
        names = [f"way-{batch}-{each}" for each in range(number)]
        for name in names:
            self.kube.mirror(one(name))
        return names

    def equal_undisturbed(self, names: list[str], seconds: float = 60) -> None:
        """Wait until each mirror is complete and equals an undisturbed one."""
        for name in names:
            until(lambda name=name: complete(self.kube, name), why=f"{name} is complete", seconds=seconds)  # type: ignore[misc]
        expected = normal_form(self.kube, "undisturbed")
        for name in names:
            same = lambda name=name: normal_form(self.kube, name) == expected  # noqa: E731
            until(same, why=f"{name} equals the undisturbed one", seconds=seconds)

    def delete(self, names: list[str]) -> None:
        """Delete mirrors without waiting; the garbage collector takes 20 objects a second."""
        for name in names:
            self.kube.delete(resources.MIRROR, name)

    def leads(self) -> bool:
        """Return True if the controller is the leader."""
        return leads(self.running.system.metrics_port)

    def logged(self, event: str) -> int:
        """Return how often it has logged the event."""
        return events_of(self.running, "controller").count(event)
