"""The steps of the demo that need a node: pods whose images come through the mirror, and without it."""

import re
from collections import Counter
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from tests.localcluster.demo_shell import DEADLINE_OF_PODS, DemoShell
from tests.localcluster.demo_steps import (
    ADMISSION_STEPS,
    CONTINUED,
    CREDENTIALS_TITLE,
    DELETION_TITLE,
    OBJECTS_TITLE,
    REPAIR_STEPS,
    Step,
    credentials,
    delete_mirrors,
    show_objects,
)
from tests.localcluster.node.hub import HUB, docker_hub
from tests.localcluster.node.installed import NAMESPACE
from tests.localcluster.node.node import Node
from tests.localcluster.node.runtime import ONE_ROOT
from tests.localcluster.node.upstream import Upstream

IMAGE = "docker.io/library/hello:1"
MEGABYTES = 5.0  # of the largest layer of IMAGE
HERD_IMAGE = "docker.io/library/new:1"
HERD_MEGABYTES = 40.0
CLIENTS = 8
UPSTREAM_RATE = 20_000_000  # bytes a second, so that all clients ask before the download ends
VOLUMES = 2  # of a mirror with the default of two replicas
TIMEOUT = "--timeout=150s"
MIRROR = "registry-mirror-docker"
HOSTS_TOML = "/etc/containerd/certs.d/docker.io/hosts.toml"
CACHE_PODS = "-l mirror=docker,component=registry"
# All files in the folders where the agent may write.
FILES = "cat /etc/hosts; find /etc/containerd /etc/docker ! -type d | sort"
COUNTERS = (
    f"for pod in 0 1; do kubectl get --raw{CONTINUED}"
    f"/api/v1/namespaces/{NAMESPACE}/pods/{MIRROR}-$pod:5001/proxy/metrics; done{CONTINUED}"
    "| grep -E '^registrymirror_cache_(received|served)_bytes_total'"
)
COUNTED = re.compile(
    r'^registrymirror_cache_(received|served)_bytes_total\{(?:source="(\w+)",)?.* (\S+)$', re.MULTILINE
)
# Each client has a namespace of its own. containerd shares whole blobs between them, so a late client asks for fewer.
HERD = (
    f"for client in $(seq {CLIENTS}); do ctr --namespace client$client content fetch{CONTINUED}"
    f"--hosts-dir {ONE_ROOT} {HERD_IMAGE} > /dev/null & done; wait"
)


class Bytes(NamedTuple):
    """Bytes that the caches received from their upstream and served to nodes."""

    received: int
    served: int


class PullSteps:
    """The steps on `node`, where a local registry has the name of Docker Hub."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._untouched = ""
        self._before = Bytes(0, 0)

    @cached_property
    def _hub(self) -> Upstream:
        return docker_hub(self._node)

    def prepare(self) -> None:
        """Start the registry, push an image and create volumes for the first mirror."""
        self._hub.prepare().start()
        self._hub.push(IMAGE.removeprefix("docker.io/"), (MEGABYTES,))
        self._node.add_volumes(VOLUMES)
        self._untouched = self._inside(FILES)

    def steps(self) -> tuple[Step, ...]:
        """Return all steps in order."""
        return (
            *ADMISSION_STEPS,
            Step(OBJECTS_TITLE, self._objects),
            *REPAIR_STEPS,
            Step(CREDENTIALS_TITLE, self._credentials),
            Step("A pod with an image of Docker Hub starts; the image comes through the mirror", self._first),
            Step("The image is removed from the node and pulled again from the cache alone", self._again),
            Step(f"{CLIENTS} clients pull a new image at once; the upstream sends it once", self._herd),
            Step("The upstream stops; the pull works through the mirror", self._without_upstream),
            Step("The mirror stops; the pull works from the upstream", self._without_mirror),
            Step(f"{DELETION_TITLE}, and no file on the node", self._deletion),
        )

    def _objects(self, shell: DemoShell) -> None:
        shell.run(f"kubectl wait --for=condition=Ready rm/docker {TIMEOUT}")
        show_objects(shell)
        self._run_on_node(shell, f"cat {HOSTS_TOML}; tail -n 3 /etc/hosts")

    def _credentials(self, shell: DemoShell) -> None:
        self._node.add_volumes(VOLUMES)
        credentials(shell)

    def _first(self, shell: DemoShell) -> None:
        shell.run("kubectl apply -f deploy/examples/docker.yaml")
        shell.until(
            "The status has Docker Hub as upstream", "get rm docker -o jsonpath={.status.upstream}", f"https://{HUB}"
        )
        self._node.wait_for("the caches follow", self._caches_follow, DEADLINE_OF_PODS)
        shell.met("Both caches use Docker Hub, without a restart")
        # Ready also waits until Go programs read the hosts file again, which they do every five seconds.
        shell.run(f"kubectl wait --for=condition=Ready rm/docker {TIMEOUT}")
        _pull(shell)
        self._before = _counted(shell)
        own = int(MEGABYTES * 1e6)
        shell.expect(f"More than {own} bytes came through the mirror", min(self._before) > own, expected=True)

    def _again(self, shell: DemoShell) -> None:
        self._forget(shell)
        blobs = self._hub.count("blob")
        _pull(shell)
        now = _counted(shell)
        again = now.served - self._before.served
        shell.expect("The caches received nothing more from the upstream", now.received, self._before.received)
        shell.expect("The caches served the image again", again > MEGABYTES * 1e6, expected=True)
        shell.expect("The upstream sent no further blob", self._hub.count("blob"), blobs)
        self._before = now

    def _herd(self, shell: DemoShell) -> None:
        name = HERD_IMAGE.removeprefix("docker.io/")
        self._hub.push(name, (HERD_MEGABYTES,))
        before = self._hub.count()
        self._hub.slow(UPSTREAM_RATE)
        self._run_on_node(shell, HERD)
        self._hub.slow(None)
        served = _counted(shell).served - self._before.served
        downloads = [each for each in islice(self._hub.records(), before, None) if each.kind == "blob" and each.size]
        sent = sum(each.size for each in downloads)
        shell.output.note(f"served to {CLIENTS} clients: {served / 1e6:6.1f} MB")
        shell.output.note(f"sent by the upstream: {sent / 1e6:6.1f} MB, in {len(downloads)} downloads")
        least = int(HERD_MEGABYTES * 1e6)
        shell.expect(f"Each client has more than {least} bytes", served / CLIENTS > least, expected=True)
        shell.expect("The upstream sent the bytes of one image", sent, self._hub.blob_bytes(name))
        shell.expect("The upstream sent each blob once", len({each.path for each in downloads}), len(downloads))

    def _without_upstream(self, shell: DemoShell) -> None:
        self._forget(shell)
        self._hub.stop()
        self._run_on_node(shell, f"curl --silent --show-error https://{HUB}/v2/")
        _pull(shell)
        reason = "get rm docker -o jsonpath='{.status.conditions[?(@.type==\"UpstreamReachable\")].reason}'"
        shell.until("The status has the reason ConnectionRefused", reason, "ConnectionRefused")
        shell.run("kubectl get rm docker")

    def _without_mirror(self, shell: DemoShell) -> None:
        self._forget(shell)
        self._hub.start()
        blobs = self._hub.count("blob")
        _scale(shell, "deployment registrymirror-controller", 0)  # it would repair the StatefulSet
        _scale(shell, f"statefulset {MIRROR}", 0)
        shell.until("No cache pod is left", f"get pods -n {NAMESPACE} {CACHE_PODS} -o name", "")
        _pull(shell)
        shell.expect("The upstream sent the blobs", self._hub.count("blob") > blobs, expected=True)
        self._wait_for_file(shell, "The agent removed the mirror from hosts.toml", HOSTS_TOML, there=False)
        _scale(shell, "deployment registrymirror-controller", 2)
        self._wait_for_file(shell, "The controller repaired the mirror and the agent uses it again", HOSTS_TOML)

    def _deletion(self, shell: DemoShell) -> None:
        shell.run("kubectl delete pod hello --now")
        delete_mirrors(shell)
        left = self._run_on_node(shell, FILES)
        shell.expect("The files of the node are the same as before the first mirror", left, self._untouched)

    def _forget(self, shell: DemoShell) -> None:
        shell.run("kubectl delete pod hello --now")
        self._node.forget_image(IMAGE)
        left = self._run_on_node(shell, "ctr --namespace k8s.io images ls --quiet | grep hello")
        shell.expect("The image is removed from the node", left, "")

    def _caches_follow(self) -> bool:
        """Return True if both caches have Docker Hub as their upstream."""
        pods = (f"/api/v1/namespaces/{NAMESPACE}/pods/{MIRROR}-{pod}:5001/proxy/status" for pod in range(VOLUMES))
        pages = [self._node.cluster.run_kubectl("get", "--raw", pod, check=False).stdout for pod in pods]
        return all(f'"url":"https://{HUB}"' in page for page in pages)

    def _wait_for_file(self, shell: DemoShell, what: str, path: str, *, there: bool = True) -> None:
        self._node.wait_for(what, lambda: self._node.exists(path) == there, DEADLINE_OF_PODS)
        shell.met(what)

    def _run_on_node(self, shell: DemoShell, command: str) -> str:
        return shell.run_by(self._inside, command, prompt=f"{self._node.name}# ")

    def _inside(self, command: str) -> str:
        done = self._node.run("sh", "-c", f"{command} 2>&1", check=False)
        return done.stdout


def _pull(shell: DemoShell) -> None:
    """Start a pod that pulls its image."""
    shell.run(f"kubectl run hello --image={IMAGE}")
    shell.run(f"kubectl wait --for=condition=Ready pod/hello {TIMEOUT}")
    shell.until("The pod runs this image", "logs hello", f"this is {IMAGE}")  # a pod is Ready before its first line
    shell.run("kubectl logs hello")


def _counted(shell: DemoShell) -> Bytes:
    """Return the sums of the caches' counters. What one cache serves to the other is not served to a node."""
    sums: Counter[str] = Counter()
    for name, source, value in COUNTED.findall(shell.run(COUNTERS)):
        sums[source or name] += int(float(value))
    return Bytes(received=sums["upstream"], served=sums["served"] - sums["peer"])


def _scale(shell: DemoShell, what: str, replicas: int) -> None:
    shell.run(f"kubectl scale {what} -n {NAMESPACE} --replicas {replicas}")
