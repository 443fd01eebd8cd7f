"""A Kubernetes control plane of one's own, for tests, the demo and benchmarks.

    with Cluster(tmp_path / "cluster").start() as cluster:
        cluster.run_kubectl("get", "namespaces")

Everything listens on 127.0.0.1 (with a node: in the node's network), on free ports; several clusters can run side by
side, each in a folder of its own.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.localcluster import binaries, commands, kubeconfig
from tests.localcluster.api_server_network import HOST_NETWORK, ApiServerNetwork
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.guard import Guard
from tests.localcluster.layout import Layout
from tests.localcluster.node import cleanup
from tests.localcluster.pki import CertificateAuthority
from tests.localcluster.probe import address_of, port_of
from tests.localcluster.processes import Processes, resident_bytes
from tests.localcluster.starter import Starter


class Cluster:
    """A cluster whose state is all in `folder`: a new or an empty one, or one where a cluster was or is running.

    Several objects may stand for one cluster, also in several programs: they find its processes by records in the
    folder. `environment` is where PATH, XDG_CACHE_HOME and KUBEBUILDER_ASSETS are looked up.

    Leaving the `with` block stops the cluster and drops its data; logs and the audit log stay, for whoever looks
    into a failure. All methods raise LocalClusterError, with sentences for a person.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.folder = folder.absolute()
        self._layout = Layout(self.folder)
        self._processes = Processes(self.folder)
        self._environment = environment
        # a proxy in the environment is for the world outside; everything here is on the loopback address
        self._direct = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
        self._starter = Starter(self._layout, self._processes, self._direct)
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._layout.etcd_data, ignore_errors=True)

    @property
    def url(self) -> str:
        """Where the API server listens: `https://127.0.0.1:<port>`, the same for as long as the cluster is up."""
        argv = self._processes.record(commands.API_SERVER).argv
        return f"https://{address_of(argv)}:{port_of(argv)}"

    @property
    def ca_file(self) -> Path:
        """The PEM file of the authority that all certificates of the cluster are from."""
        return self._layout.ca.certificate

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.admin_kubeconfig

    @property
    def kubectl(self) -> Path:
        """A kubectl of the cluster's version."""
        return self._layout.bin / commands.KUBECTL

    @property
    def audit_log(self) -> Path:
        """All requests that were answered, as JSON lines (audit.k8s.io/v1 Event, level Metadata).

        A request's line is there before the client has its answer. Watches have a line when they begin
        (`stage: ResponseStarted`) and one when they end (`ResponseComplete`), other requests the latter alone.
        """
        return self._layout.audit_log

    @property
    def timings(self) -> dict[str, float]:
        """The seconds that each step of `start` took."""
        return self._starter.timings

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment for clients: ours without proxies, with KUBECONFIG, and kubectl's cache in our folder."""
        return {**self._direct, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self._layout.kubectl_cache)}

    def run_kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end and return stdout, stderr and exit status; as administrator, unless told otherwise.

        With `check`, raises LocalClusterError with what kubectl says when it fails.
        """
        environment = {**self.client_environment, "KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        done = subprocess.run(
            [self.kubectl, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise LocalClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), path: Path | None = None) -> Path:
        """Write a kubeconfig for `user` in `groups` and return its path: what it may do is what RBAC lets it do.

        A service account's user is `system:serviceaccount:<namespace>:<name>`, and its groups are
        `system:serviceaccounts` and `system:serviceaccounts:<namespace>`. The API server adds `system:authenticated`.
        """
        identity = CertificateAuthority(self._layout.ca).client(user, groups)
        path = path or self._layout.kubeconfigs / identity.certificate.stem
        kubeconfig.write(path, self.url, self.ca_file, identity)
        return path

    @property
    def components(self) -> list[str]:
        """What was started: some of `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`."""
        return self._processes.names()

    def alive(self, component: str) -> bool:
        """Whether a component runs."""
        return self._processes.alive(component)

    def resident_bytes(self, component: str) -> int:
        """Return the resident memory of a component, in bytes."""
        return resident_bytes(self._processes.record(component).pid)

    def start(
        self,
        *,
        controllers: bool = True,
        scheduler: bool = True,
        audit: bool = True,
        extra_apiserver_args: Sequence[str] = (),
        network: Callable[[], ApiServerNetwork] = lambda: HOST_NETWORK,
    ) -> Self:
        """Start etcd, kube-apiserver and, if wanted, kube-controller-manager and kube-scheduler.

        Returns when all are ready; with controllers, pods can be created then. Builds the components first where they
        are not built yet, which takes minutes and is told on stderr. In the folder of a cluster that was stopped, goes
        on with its data, at a new port. A start that fails leaves nothing running. `extra_apiserver_args` come last,
        and so win over ours. The cluster ends with this program, also when that is killed, unless `detach` is called.
        `network` makes the network that the API server shall be in, when all the rest is prepared.
        """
        if any(self.alive(name) for name in self.components):
            raise LocalClusterError(f"A cluster is running in {self.folder} already.")
        components = [commands.ETCD, commands.API_SERVER]
        components += [commands.CONTROLLER_MANAGER] if controllers else []
        components += [commands.SCHEDULER] if scheduler else []
        self._check_folder()
        programs = binaries.locate([*components, commands.KUBECTL], self._environment)
        try:
            self._processes.forget()
            self._starter.prepare(programs)
            self._guard = Guard(self.folder)
            self._starter.start(components, audit=audit, extra_apiserver_args=extra_apiserver_args, network=network())
        except BaseException:
            self.stop()
            raise
        return self

    def detach(self) -> None:
        """Let the cluster go on when this program ends."""
        if self._guard:
            self._guard.dismiss()
            self._guard = None

    def stop(self) -> None:
        """End all components, etcd last, so that the others are not busy with its absence. Data and logs stay."""
        self._processes.stop([name for name in self.components if name != commands.ETCD])
        self._processes.stop([name for name in self.components if name == commands.ETCD])
        cleanup.remove(self.folder)
        self.detach()

    def remove(self) -> None:
        """Stop the cluster and remove its folder with all that is in it; nothing happens where there is none."""
        if self.folder.exists():
            self._check_folder()
            self.stop()
            shutil.rmtree(self.folder)

    def kill(self, component: str) -> None:
        """End a component by SIGKILL; return when it is gone."""
        self._processes.kill(component, signal.SIGKILL)
        self._processes.stop([component])

    def start_component(self, component: str) -> None:
        """Start a component again, by the same command line: same port, same data. Return when it is ready."""
        self._starter.relaunch(component)

    def restart_controllers(self) -> None:
        """Restart the controller manager, so that it knows the kinds that CustomResourceDefinitions have brought.

        Its garbage collector looks for new kinds every 30 s, and until it has, nothing that such an object owns is
        deleted with it: 41 s after the CRD was applied, as measured, against 0.2 s for a restart.
        """
        self.kill(commands.CONTROLLER_MANAGER)
        self.start_component(commands.CONTROLLER_MANAGER)

    def kill_apiserver(self) -> None:
        """End the API server by SIGKILL."""
        self.kill(commands.API_SERVER)

    def start_apiserver(self) -> None:
        """Start the API server again; return when it is ready."""
        self.start_component(commands.API_SERVER)

    def _check_folder(self) -> None:
        """Refuse a folder with foreign things in it: it will be removed as a whole."""
        if self.folder.exists() and any(self.folder.iterdir()) and not self._layout.mark.exists():
            raise LocalClusterError(
                f"{self.folder} holds other things than a local cluster: name a folder that is new or empty."
            )
