"""Build the command lines of the components."""

from collections.abc import Sequence
from pathlib import Path

from tests.localcluster.families import SINGLE
from tests.localcluster.layout import Layout
from tests.localcluster.ports import LOOPBACK

# Relative to the cluster's folder, the working directory of all components: a socket's path has at most 107
# characters.
ETCD_URL = "unix://etcd.sock"
ETCD_PEER_URL = "unix://etcd-peer.sock"  # etcd requires one

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBECTL = "kubectl"
SERVERS = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],  # one line per request
    "rules": [{"level": "Metadata"}],
}


def etcd(layout: Layout) -> list[str]:
    """Return the command line of etcd."""
    return [
        str(layout.bin / ETCD),
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls={ETCD_URL}",
        "--advertise-client-urls=http://localhost:2379",  # required, unused, must not be a socket
        f"--listen-peer-urls={ETCD_PEER_URL}",
        # No fsync, which is most of the time of a write. Data survives a kill of etcd, not a power cut.
        "--unsafe-no-fsync",
    ]


def api_server(layout: Layout, port: int, address: str = LOOPBACK, *, audit: bool) -> list[str]:
    """Return the command line of kube-apiserver, which listens on `address` alone."""
    return [
        str(layout.bin / API_SERVER),
        f"--etcd-servers={ETCD_URL}",
        *_serving(layout, port, address),
        f"--advertise-address={address}",
        # Endpoints must not have a loopback address. The network of a node overrides this.
        "--endpoint-reconciler-type=none",
        f"--client-ca-file={layout.ca.certificate}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        *SINGLE.api_server_arguments,  # the network of a node overrides it
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.signing_key}",
        f"--service-account-signing-key-file={layout.signing_key}",
        # The webhook is a local process behind a Service of type ExternalName. The API server dials that name only
        # if it routes by cluster IP.
        "--enable-aggregator-routing=false",
        "--shutdown-delay-duration=0s",
        *(_audit(layout) if audit else ()),
    ]


def controller_manager(layout: Layout, port: int, kubeconfig: Path) -> list[str]:
    """Return the command line of kube-controller-manager, with all controllers that are on by default."""
    return [
        str(layout.bin / CONTROLLER_MANAGER),
        *_client(layout, port, kubeconfig),
        "--use-service-account-credentials",
        # With the default burst of 30, its own forty service accounts take 5 s. The rate of 20/s stays the default.
        "--kube-api-burst=300",
        f"--service-account-private-key-file={layout.signing_key}",
        f"--root-ca-file={layout.ca.certificate}",
        f"--cluster-signing-cert-file={layout.ca.certificate}",
        f"--cluster-signing-key-file={layout.ca.key}",
    ]


def scheduler(layout: Layout, port: int, kubeconfig: Path) -> list[str]:
    """Return the command line of kube-scheduler."""
    return [str(layout.bin / SCHEDULER), *_client(layout, port, kubeconfig)]


def _client(layout: Layout, port: int, kubeconfig: Path) -> Sequence[str]:
    """Return the common arguments of the two clients of the API server."""
    return (
        *_serving(layout, port),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        # There is one of each; after a kill the next would wait 15 s for the lease.
        "--leader-elect=false",
    )


def _serving(layout: Layout, port: int, address: str = LOOPBACK) -> Sequence[str]:
    return (
        f"--bind-address={address}",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.serving.certificate}",
        f"--tls-private-key-file={layout.serving.key}",
    )


def _audit(layout: Layout) -> Sequence[str]:
    return (
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        # MB. At the default of 100 the log rotates during benchmarks.
        "--audit-log-maxsize=10000",
    )
