"""Run a Kubernetes control plane for tests, the demo and benchmarks.

    with Cluster(tmp_path / "cluster").start() as cluster:
        cluster.run_kubectl("get", "namespaces")

Components listen on free ports of 127.0.0.1, or of the node's network. Several clusters can run at the same time.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.localcluster import binaries, clients, commands, kubeconfig
from tests.localcluster.api_server_network import HOST_NETWORK, ApiServerNetwork
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.guard import Guard
from tests.localcluster.layout import Layout
from tests.localcluster.node import cleanup
from tests.localcluster.pki import CertificateAuthority
from tests.localcluster.probe import url_of
from tests.localcluster.processes import Processes, resident_bytes
from tests.localcluster.starter import Starter

# Garbage collection takes a quarter of the CPU time in which a cluster starts.
RARE_COLLECTION = {"GOGC": "400"}


class Cluster:
    """A cluster with all its state in `folder`, which is new, empty or that of an earlier cluster.

    Several objects and programs may share a cluster: its folder has records of the processes. `environment` provides
    PATH, XDG_CACHE_HOME and KUBEBUILDER_ASSETS.

    The `with` block stops the cluster at its end and deletes its data, not its logs. All methods raise
    LocalClusterError.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.folder = folder.absolute()
        self._layout = Layout(self.folder)
        self._processes = Processes(self.folder)
        self._environment = environment
        # All addresses are local: no proxy.
        self._direct = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
        self._starter = Starter(self._layout, self._processes, {**RARE_COLLECTION, **self._direct})
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
        """Return the API server's URL: `https://127.0.0.1:<port>`."""
        return url_of(self._processes.record(commands.API_SERVER).argv)

    @property
    def ca_file(self) -> Path:
        """Return the PEM file of the cluster's CA."""
        return self._layout.ca.certificate

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self._layout.admin_kubeconfig

    @property
    def kubectl(self) -> Path:
        """Return a kubectl of the cluster's version."""
        return self._layout.bin / commands.KUBECTL

    @property
    def audit_log(self) -> Path:
        """Return the audit log: JSON lines of audit.k8s.io/v1 Events, level Metadata.

        The API server writes a request's line before the client has the answer. A watch has two lines, `stage:
        ResponseStarted` and `ResponseComplete`; other requests have the second.
        """
        return self._layout.audit_log

    @property
    def timings(self) -> dict[str, float]:
        """Return the seconds of each step of `start`."""
        return self._starter.timings

    @property
    def client_environment(self) -> dict[str, str]:
        """Return the environment for clients: no proxies, KUBECONFIG, and their files in the cluster's folder."""
        return {**self._direct, "KUBECONFIG": str(self.kubeconfig), **clients.files_in(self.folder)}

    @property
    def shell_environment(self) -> dict[str, str]:
        """Return the environment for commands that a user types, with the cluster's programs in PATH."""
        path = f"{self._layout.bin}{os.pathsep}{self._direct.get('PATH', os.defpath)}"
        return {**self.client_environment, "PATH": path}

    def run_kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, by default as administrator; return stdout, stderr and exit status.

        With `check`, raises LocalClusterError with kubectl's message if it fails.
        """
        environment = {**self.client_environment, "KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        done = subprocess.run(
            [self.kubectl, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise LocalClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), path: Path | None = None) -> Path:
        """Write a kubeconfig for `user` in `groups` and return its path.

        The user of a service account is `system:serviceaccount:<namespace>:<name>`. Its groups are
        `system:serviceaccounts` and `system:serviceaccounts:<namespace>`. The API server adds `system:authenticated`.
        """
        identity = CertificateAuthority(self._layout.ca).client(user, groups)
        path = path or self._layout.kubeconfigs / identity.certificate.stem
        kubeconfig.write(path, self.url, self.ca_file, identity)
        return path

    @property
    def components(self) -> list[str]:
        """Return the started components: `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`."""
        return self._processes.names()

    def alive(self, component: str) -> bool:
        """Return True if a component runs."""
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
        """Start etcd, kube-apiserver and, by default, kube-controller-manager and kube-scheduler.

        Returns when all are ready; with controllers, pods can be created then. Builds missing components first, which
        takes minutes; the progress goes to stderr. The folder of a stopped cluster keeps its data; the port is new. A
        failed start leaves nothing running. `extra_apiserver_args` override the default ones. The cluster ends with
        this program, even if it is killed, unless `detach` is called. `network` is called last and returns the API
        server's network.
        """
        if any(self.alive(name) for name in self.components):
            raise LocalClusterError(f"A cluster already runs in {self.folder}.")
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
        """Keep the cluster running when this program ends."""
        if self._guard:
            self._guard.dismiss()
            self._guard = None

    def stop(self) -> None:
        """Stop all components, etcd last. Data and logs stay."""
        self._processes.stop([name for name in self.components if name != commands.ETCD])
        self._processes.stop([name for name in self.components if name == commands.ETCD])
        cleanup.remove(self.folder)
        self.detach()

    def remove(self) -> None:
        """Stop the cluster and delete its folder, if it exists."""
        if self.folder.exists():
            self._check_folder()
            self.stop()
            shutil.rmtree(self.folder)

    def kill(self, component: str) -> None:
        """Kill a component with SIGKILL; return when it has ended."""
        self._processes.kill(component, signal.SIGKILL)
        self._processes.stop([component])

    def start_component(self, component: str) -> None:
        """Start a component again with the same command line; return when it is ready."""
        self._starter.relaunch(component)

    def restart_controllers(self) -> None:
        """Restart the controller manager, so that it knows the kinds of new CustomResourceDefinitions.

        Its garbage collector discovers kinds every 30 s and deletes no dependents of unknown ones. Measured: 41 s after
        a new CRD, against 0.2 s for a restart.
        """
        self.kill(commands.CONTROLLER_MANAGER)
        self.start_component(commands.CONTROLLER_MANAGER)

    def kill_apiserver(self) -> None:
        """Kill the API server with SIGKILL."""
        self.kill(commands.API_SERVER)

    def start_apiserver(self) -> None:
        """Start the API server again; return when it is ready."""
        self.start_component(commands.API_SERVER)

    def _check_folder(self) -> None:
        """Raise LocalClusterError if the folder has foreign files: `remove` deletes all of it."""
        if self.folder.exists() and any(self.folder.iterdir()) and not self._layout.mark.exists():
            raise LocalClusterError(f"{self.folder} has files of something else. Name a folder that is new or empty.")
