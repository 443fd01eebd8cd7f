"""How kubelet and kube-proxy are configured on a node here."""

from pathlib import Path

from common.types import Json
from tests.localcluster.layout import Layout
from tests.localcluster.node.runtime import SOCKET
from tests.localcluster.node.sandbox import DNS_ADDRESS
from tests.localcluster.pki import Identity

KUBELET, KUBE_PROXY = "kubelet", "kube-proxy"


def kubelet_settings(layout: Layout, serving: Identity) -> Json:
    """Return the KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",  # nothing here is systemd
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.ca.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "resolvConf": "/etc/resolv.conf",
        # The disk is this machine's, and how full it is is nobody's business here.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # off: images leave when a test removes them
        "imageGCLowThresholdPercent": 99,
        "registryPullQPS": 0,  # no limit, so that ten pods at once do pull at once
        "serializeImagePulls": False,
        # five minutes by default: so long a container that was killed several times may wait to be started again
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "syncFrequency": "5s",  # a minute by default: so long a changed Secret may take into a pod
    }


def proxy_settings(name: str, kubeconfig: Path) -> Json:
    """Return the KubeProxyConfiguration for the node `name`."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": "10.244.0.0/16",
        "hostnameOverride": name,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        # zero: leave the kernel's tables for connections as they are, which are this machine's
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": ["primary"],
    }


def apiserver_arguments(layout: Layout, client: Identity) -> tuple[str, ...]:
    """Return what lets the API server be reached by pods, and reach kubelet for logs and exec."""
    return (
        "--endpoint-reconciler-type=lease",
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        f"--kubelet-certificate-authority={layout.ca.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
    )
