"""Configure kubelet and kube-proxy."""

from pathlib import Path

from common.types import Json
from tests.localcluster.families import DNS, POD_RANGE, Families
from tests.localcluster.layout import Layout
from tests.localcluster.node.runtime import SOCKET
from tests.localcluster.pki import Identity

KUBELET, KUBE_PROXY = "kubelet", "kube-proxy"


def kubelet_settings(layout: Layout, serving: Identity, families: Families) -> Json:
    """Return the KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",  # there is no systemd
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
        "clusterDNS": [DNS[families.first]],
        "resolvConf": "/etc/resolv.conf",
        # The disk is this machine's; ignore its usage.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # off: only tests remove images
        "imageGCLowThresholdPercent": 99,
        "registryPullQPS": 0,  # no limit, for ten pulls at once
        "serializeImagePulls": False,
        # By default a container that was killed several times waits up to five minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "syncFrequency": "5s",  # default 1 min; how long a changed Secret takes into a pod
    }


def proxy_settings(name: str, kubeconfig: Path, families: Families) -> Json:
    """Return the KubeProxyConfiguration for the node `name`."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": families.joined(POD_RANGE),
        "hostnameOverride": name,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        # 0: keep the kernel's settings, which are this machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": ["primary"],
    }


def apiserver_arguments(layout: Layout, client: Identity, families: Families) -> tuple[str, ...]:
    """Return arguments that let pods reach the API server, and it the kubelet for logs and exec."""
    return (
        *families.api_server_arguments,
        "--endpoint-reconciler-type=lease",
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        f"--kubelet-certificate-authority={layout.ca.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
    )
