"""Start the components of a cluster in the order of their dependencies."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.localcluster import commands, families, kubeconfig
from tests.localcluster.api_server_network import HOST_NETWORK, ApiServerNetwork
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.layout import Layout
from tests.localcluster.pki import CertificateAuthority, Identity, create_signing_key
from tests.localcluster.ports import LOOPBACK, free_port
from tests.localcluster.probe import DEFAULT_SERVICE_ACCOUNT, Probe, url_of
from tests.localcluster.processes import Processes

ATTEMPTS = 3  # another program may take the port before the component listens
TAKEN = "address already in use"  # Go's message
ADMINISTRATORS = "system:masters"  # has all permissions without RBAC


@dataclass
class Starter:
    """Start components; `timings` has the seconds of each step."""

    layout: Layout
    processes: Processes
    environment: Mapping[str, str]
    timings: dict[str, float] = field(default_factory=dict)

    def prepare(self, programs: Mapping[str, Path]) -> None:
        """Create the folder, a link for each program, certificates and keys."""
        layout = self.layout
        layout.folder.mkdir(parents=True, exist_ok=True)
        layout.folder.chmod(0o700)  # keys and etcd's socket give full access
        layout.mark.write_text("{}\n")
        shutil.rmtree(layout.bin, ignore_errors=True)
        for folder in (layout.bin, layout.pki, layout.kubeconfigs):
            folder.mkdir(exist_ok=True)
        for name, target in programs.items():
            (layout.bin / name).symlink_to(target)
        layout.audit_policy.write_text(json.dumps(commands.AUDIT_POLICY))

    def start(
        self,
        components: Sequence[str],
        *,
        audit: bool,
        extra_apiserver_args: Sequence[str],
        network: ApiServerNetwork = HOST_NETWORK,
    ) -> None:
        """Start these components in this order; return when all are ready."""
        self._timed("certificates", lambda: self._issue(network.address))
        command_lines = self._command_lines(audit=audit, extra=extra_apiserver_args, network=network)
        for name in components:
            self._timed(name, lambda name=name: self._launch(name, command_lines[name]))  # type: ignore[misc]
        if commands.CONTROLLER_MANAGER in components:
            self._timed("service account", self._wait_for_service_account)

    def relaunch(self, name: str) -> None:
        """Start a component with its last command line; return when it is ready."""
        if name not in commands.SERVERS:
            raise LocalClusterError(f"{name} is not one of {', '.join(commands.SERVERS)}.")
        argv = self.processes.record(name).argv
        if not self.processes.alive(name):
            self.processes.start(name, argv, self.environment)
        self.processes.wait_ready(name, Probe(self.layout).ready(name, argv))

    def _issue(self, address: str) -> None:
        ca = CertificateAuthority(self.layout.ca)
        create_signing_key(self.layout.signing_key)
        names = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        ca.server("serving", [*names, "localhost", *{LOOPBACK, address}, *families.API_SERVER.values()])
        ca.client("admin", [ADMINISTRATORS], name=self.layout.admin.certificate.stem)

    def _command_lines(
        self, *, audit: bool, extra: Sequence[str], network: ApiServerNetwork
    ) -> dict[str, Callable[[int], list[str]]]:
        layout = self.layout
        extra = [*network.arguments, *extra]
        return {
            commands.ETCD: lambda _: commands.etcd(layout),
            commands.API_SERVER: lambda port: [
                *network.prefix,
                *commands.api_server(layout, port, network.address, audit=audit),
                *extra,
            ],
            commands.CONTROLLER_MANAGER: lambda port: commands.controller_manager(
                layout, port, self._client_kubeconfig(commands.CONTROLLER_MANAGER)
            ),
            commands.SCHEDULER: lambda port: commands.scheduler(
                layout, port, self._client_kubeconfig(commands.SCHEDULER)
            ),
        }

    def _launch(self, name: str, command_line: Callable[[int], list[str]]) -> None:
        """Start a component and wait until it is ready; try another port if its port was taken."""
        for attempt in range(1, ATTEMPTS + 1):
            argv = command_line(free_port())
            self.processes.start(name, argv, self.environment)
            try:
                self.processes.wait_ready(name, Probe(self.layout).ready(name, argv))
            except LocalClusterError as error:
                if TAKEN not in str(error) or attempt == ATTEMPTS:
                    raise
            else:
                break
        if name == commands.API_SERVER:
            self._write_kubeconfig(self.layout.admin_kubeconfig, self.layout.admin)

    def _client_kubeconfig(self, name: str) -> Path:
        """Write the kubeconfig of a component, with the user that the default roles are bound to."""
        path = self.layout.kubeconfigs / name
        self._write_kubeconfig(path, CertificateAuthority(self.layout.ca).client(f"system:{name}", name=name))
        return path

    def _write_kubeconfig(self, path: Path, identity: Identity) -> None:
        url = url_of(self.processes.record(commands.API_SERVER).argv)
        kubeconfig.write(path, url, self.layout.ca.certificate, identity)

    def _wait_for_service_account(self) -> None:
        argv = self.processes.record(commands.API_SERVER).argv
        self.processes.wait_ready(
            commands.CONTROLLER_MANAGER, lambda: Probe(self.layout).ok(argv, DEFAULT_SERVICE_ACCOUNT)
        )

    def _timed(self, step: str, action: Callable[[], None]) -> None:
        begun = time.monotonic()
        action()
        self.timings[step] = time.monotonic() - begun
