"""cert-manager beside a cluster: its own kinds, controllers and injector, from its Go module.

Its webhook is not there. What that refuses beyond the schema is served here, and what it fills in, its controllers
fill in as well.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.node import programs
from tests.localcluster.processes import Processes

CERT_MANAGER = programs.Program("certmanager", "../certmanager")
MODULE = "github.com/cert-manager/cert-manager"
USER = "cert-manager"  # by which the audit log tells its requests from others


class CertManager:
    """cert-manager for one cluster. All methods raise LocalClusterError."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._processes = Processes(cluster.folder)

    def install(self) -> None:
        """Build it where it is not built yet, and apply its CustomResourceDefinitions, those for ACME excepted."""
        programs.build(CERT_MANAGER)  # and so there is a Go to ask for the module's folder
        crds = [f"--filename={path}" for path in sorted(_crds(os.environ).glob("cert-manager.io_*.yaml"))]
        # by the server: what `kubectl apply` would keep of some in an annotation is too large for one
        self.cluster.run_kubectl("apply", "--server-side", *crds)
        self.cluster.run_kubectl("wait", "--for=condition=Established", "--timeout=30s", *crds)

    def start(self) -> None:
        """Start it; it is at work a second later."""
        kubeconfig = self.cluster.kubeconfig_for(USER, ["system:masters"])
        environment = {**self.cluster.client_environment, "KUBECONFIG": str(kubeconfig)}
        self._processes.start(CERT_MANAGER.name, [str(programs.build(CERT_MANAGER))], environment)

    def stop(self) -> None:
        """End it; Certificates and what they are issued into stay."""
        self._processes.stop([CERT_MANAGER.name])


def _crds(environment: Mapping[str, str]) -> Path:
    """Return the module's folder of CRDs, of the version that go.mod pins; Go fetches what its cache does not have."""
    command = [str(programs.compiler_of(environment).command), "mod", "download", "-json", MODULE]
    done = subprocess.run(
        command,
        cwd=CERT_MANAGER.folder,
        env={**environment, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LocalClusterError(f"Go cannot fetch {MODULE}: {done.stdout.strip()}{done.stderr.strip()}")
    return Path(json.loads(done.stdout)["Dir"]) / "deploy" / "crds"
