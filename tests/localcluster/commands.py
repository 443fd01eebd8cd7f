"""The command lines of the components."""

from collections.abc import Sequence
from pathlib import Path

from tests.localcluster.layout import Layout
from tests.localcluster.ports import LOOPBACK

SERVICE_RANGE = "10.96.0.0/16"  # kubeadm's is /12; 65534 Services do for 500 mirrors with two each
SERVICE_OF_API_SERVER = "10.96.0.1"  # the first address of the range is always the API server's own
# Relative to the folder of the cluster, which is every component's working directory: the path of a socket ends
# at 107 characters, and the folders of tests are long.
ETCD_URL = "unix://etcd.sock"
ETCD_PEER_URL = "unix://etcd-peer.sock"  # one member has no peers, but etcd wants to listen for them

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBECTL = "kubectl"
SERVERS = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],  # one line a request, when it is answered
    "rules": [{"level": "Metadata"}],
}


def etcd(layout: Layout) -> list[str]:
    """Return the command line of etcd."""
    return [
        str(layout.bin / ETCD),
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls={ETCD_URL}",
        "--advertise-client-urls=http://localhost:2379",  # nobody reads it, but it may be no socket
        f"--listen-peer-urls={ETCD_PEER_URL}",
        # Nothing here must outlive a power cut, and waiting for the disk is most of the time of a write. What was
        # written survives a kill of etcd all the same: the kernel has it.
        "--unsafe-no-fsync",
    ]


def api_server(layout: Layout, port: int, address: str = LOOPBACK, *, audit: bool) -> list[str]:
    """Return the command line of kube-apiserver, which listens on `address` alone."""
    return [
        str(layout.bin / API_SERVER),
        f"--etcd-servers={ETCD_URL}",
        *_serving(layout, port, address),
        f"--advertise-address={address}",
        # An Endpoints object may not name a loopback address, which no pod could reach; a node's place undoes this.
        "--endpoint-reconciler-type=none",
        f"--client-ca-file={layout.ca.certificate}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.signing_key}",
        f"--service-account-signing-key-file={layout.signing_key}",
        # The webhook runs as a process beside, behind a Service of type ExternalName: the API server dials the
        # name of such a Service itself, as long as it looks for cluster IPs and not for endpoints.
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
        # Making some forty service accounts of its own takes it 5 s at the default burst of 30; the rate of 20 a
        # second, which later holds for each controller, stays as it is in real clusters.
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
    """Return what the two components have in common that are clients of the API server."""
    return (
        *_serving(layout, port),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        # there is one of each; after a kill, the next would wait 15 s for the lease of the first
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
        # megabytes; at the default of 100 the log is renamed in the middle of a benchmark that is reading it
        "--audit-log-maxsize=10000",
    )
