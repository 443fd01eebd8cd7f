"""Set up the system of `make up SYSTEM=1`, to try it by hand."""

import subprocess

from deploy import plugin
from tests.localcluster import prometheus
from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.node import monitoring, release
from tests.localcluster.node.hub import docker_hub
from tests.localcluster.node.installed import Installed
from tests.localcluster.node.node import Node
from tests.localcluster.system import REPOSITORY

# Of Docker Hub's own images, as the documents name them.
IMAGES = ("library/hello:1", "library/busybox:1.37", "library/nginx:1.27")
MEGABYTES = 5.0  # of the largest layer
VOLUMES = 20  # each is used once
PROMTOOL = "promtool"

FIRST_COMMANDS = """\
# Run these in {repository}
export KUBECONFIG={kubeconfig}
export PATH={programs}:$PATH

# The first mirror, and a pod whose image comes through it. There are {images}.
kubectl apply -f deploy/examples/docker.yaml
kubectl wait --for=condition=Ready rm/docker --timeout=5m
kubectl run hello --image=docker.io/library/hello:1
kubectl wait --for=condition=Ready pod/hello --timeout=2m

# What the mirrors do, what the caches have stored, and what is wrong.
kubectl registry-mirror status
kubectl registry-mirror top docker
kubectl registry-mirror images docker
kubectl registry-mirror doctor
"""
METRICS = """
# Metrics and alerts. The alerts in a browser of this machine: {url}/classic/alerts
promtool query instant {url} registrymirror_nodes_ready
promtool query instant {url} 'sum by (mirror) (registrymirror_cache_served_bytes_total)'
promtool query instant {url} ALERTS  # none while all is well
"""
NO_METRICS = """
# Prometheus is left out: {reason}
"""


def start(node: Node) -> str:
    """Install the system and what it needs in a started node; return the commands to type first.

    Raises LocalClusterError.
    """
    cluster = node.cluster
    hub = docker_hub(node).prepare().start()
    images = [hub.push(image, (MEGABYTES,)) for image in IMAGES]
    node.add_volumes(VOLUMES)
    release.install(Installed(node), lambda command: _run(cluster, command))
    plugin.write(cluster.kubectl.parent)
    commands = FIRST_COMMANDS.format(
        repository=REPOSITORY,
        kubeconfig=cluster.kubeconfig,
        programs=cluster.kubectl.parent,
        images=", ".join(images),
    )
    return commands + _metrics(node)


def _metrics(node: Node) -> str:
    """Start Prometheus; return the commands that ask it, or the reason why there is none."""
    try:
        programs = prometheus.programs()
    except LocalClusterError as error:
        return NO_METRICS.format(reason=str(error).partition("\n")[0])
    node.cluster.kubectl.with_name(PROMTOOL).symlink_to(programs / PROMTOOL)
    return METRICS.format(url=monitoring.start(node))


def _run(cluster: Cluster, command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=REPOSITORY,
        env=cluster.shell_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LocalClusterError(f"{command} failed: {(done.stderr or done.stdout).strip()}")
