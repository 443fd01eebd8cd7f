"""Define the paths of one cluster."""

from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.pki import Identity


@dataclass(frozen=True)
class Layout:
    """The paths below the folder of a cluster."""

    folder: Path

    @property
    def mark(self) -> Path:
        """Return the file that marks the folder of a local cluster."""
        return self.folder / "local-cluster.json"

    @property
    def bin(self) -> Path:
        """Return the folder with a link for each program."""
        return self.folder / "bin"

    @property
    def pki(self) -> Path:
        """Return the folder of certificates and keys."""
        return self.folder / "pki"

    @property
    def ca(self) -> Identity:
        """Return the CA of the cluster."""
        return Identity(self.pki / "ca.crt", self.pki / "ca.key")

    @property
    def serving(self) -> Identity:
        """Return the serving certificate of all components."""
        return Identity(self.pki / "serving.crt", self.pki / "serving.key")

    @property
    def admin(self) -> Identity:
        """Return the administrator's certificate."""
        return Identity(self.pki / "admin.crt", self.pki / "admin.key")

    @property
    def kubeconfigs(self) -> Path:
        """Return the folder of the kubeconfigs of all other users."""
        return self.folder / "kubeconfigs"

    @property
    def admin_kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def signing_key(self) -> Path:
        """Return the key that signs service account tokens."""
        return self.pki / "service-accounts.key"

    @property
    def audit_policy(self) -> Path:
        """Return the audit policy."""
        return self.folder / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        """Return the audit log, JSON lines."""
        return self.folder / "audit.log"

    @property
    def etcd_data(self) -> Path:
        """Return the data folder of etcd."""
        return self.folder / "etcd"

    @property
    def etcd_socket(self) -> Path:
        """Return etcd's socket. Only the owner can access its folder, as etcd has no authentication."""
        return self.folder / "etcd.sock"
