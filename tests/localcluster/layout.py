"""Where everything of one cluster lies."""

from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.pki import Identity


@dataclass(frozen=True)
class Layout:
    """The paths below the folder of a cluster."""

    folder: Path

    @property
    def mark(self) -> Path:
        """The file that says that this folder is a local cluster's, and may be removed as a whole."""
        return self.folder / "local-cluster.json"

    @property
    def bin(self) -> Path:
        """A link for each program, under the name it goes by."""
        return self.folder / "bin"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    @property
    def ca(self) -> Identity:
        """The authority that all certificates are from."""
        return Identity(self.pki / "ca.crt", self.pki / "ca.key")

    @property
    def serving(self) -> Identity:
        """What the servers show: one certificate for all of them, since they all listen on the same address."""
        return Identity(self.pki / "serving.crt", self.pki / "serving.key")

    @property
    def admin(self) -> Identity:
        """What the administrator shows."""
        return Identity(self.pki / "admin.crt", self.pki / "admin.key")

    @property
    def kubeconfigs(self) -> Path:
        """The kubeconfigs of all but the administrator."""
        return self.folder / "kubeconfigs"

    @property
    def admin_kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @property
    def signing_key(self) -> Path:
        """The key of the tokens of service accounts."""
        return self.pki / "service-accounts.key"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes into its audit log."""
        return self.folder / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        """The requests the API server answered, as JSON lines."""
        return self.folder / "audit.log"

    @property
    def etcd_data(self) -> Path:
        """What the cluster stores."""
        return self.folder / "etcd"

    @property
    def etcd_socket(self) -> Path:
        """Where etcd listens: a socket in a folder that is ours alone, since etcd itself asks nobody who they are."""
        return self.folder / "etcd.sock"

    @property
    def kubectl_cache(self) -> Path:
        """What kubectl remembers of this API server; ~/.kube/cache would keep it after the cluster is gone."""
        return self.folder / "kubectl-cache"
