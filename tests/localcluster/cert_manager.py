"""cert-manager beside a cluster: its own kinds, controllers and injector, from its Go module.

Its webhook is not there. What that refuses beyond the schema is served here, and what it fills in, its controllers
fill in as well.
"""

from tests.localcluster.cluster import Cluster
from tests.localcluster.node import programs
from tests.localcluster.processes import Processes

CERT_MANAGER = programs.Program("certmanager", "../certmanager")
MODULE = "github.com/cert-manager/cert-manager"
USER = "cert-manager"  # its requests in the audit log


class CertManager:
    """cert-manager for one cluster. All methods raise LocalClusterError."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._processes = Processes(cluster.folder)

    def install(self) -> None:
        """Build it if needed, and apply its CustomResourceDefinitions except those for ACME."""
        programs.build(CERT_MANAGER)
        folder = programs.module(MODULE, CERT_MANAGER.folder) / "deploy" / "crds"
        crds = [f"--filename={path}" for path in sorted(folder.glob("cert-manager.io_*.yaml"))]
        # Server-side: the annotation of client-side apply would be too large for some.
        self.cluster.run_kubectl("apply", "--server-side", *crds)
        self.cluster.run_kubectl("wait", "--for=condition=Established", "--timeout=30s", *crds)

    def start(self) -> None:
        """Start it; it works a second later."""
        kubeconfig = self.cluster.kubeconfig_for(USER, ["system:masters"])
        environment = {**self.cluster.client_environment, "KUBECONFIG": str(kubeconfig)}
        self._processes.start(CERT_MANAGER.name, [str(programs.build(CERT_MANAGER))], environment)

    def stop(self) -> None:
        """Stop it; Certificates and their Secrets stay."""
        self._processes.stop([CERT_MANAGER.name])
