"""The scenes of the demo that need a node: pods whose images come through the mirror, and go on coming without it."""

import re
from functools import cached_property
from typing import NamedTuple

from tests.localcluster.node.accounts import Account
from tests.localcluster.node.installed import NAMESPACE
from tests.localcluster.node.node import Node
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.localcluster.scenes import (
    ACCEPTED,
    ALL_AWAITED,
    ALL_GONE,
    ALL_MADE,
    CONTINUED,
    KEPT,
    Scene,
    credentials,
    gone,
    made,
)
from tests.localcluster.stage import DEADLINE_OF_PODS, Stage

HUB = "registry-1.docker.io"
IMAGE = "docker.io/library/hello:1"
MEGABYTES = 5.0  # of the one layer of IMAGE that is its own
VOLUMES = 2  # of a mirror with the default of two replicas
PATIENCE = "--timeout=150s"
MIRROR = "registry-mirror-docker"
HOSTS_TOML = "/etc/containerd/certs.d/docker.io/hosts.toml"
OF_CACHES = "-l mirror=docker,component=registry"
# The agent's traces: all files where it may write, those of others too.
FILES = "cat /etc/hosts; find /etc/containerd /etc/docker ! -type d | sort"
COUNTERS = (
    f"for pod in 0 1; do kubectl get --raw{CONTINUED}"
    f"/api/v1/namespaces/{NAMESPACE}/pods/{MIRROR}-$pod:5001/proxy/metrics; done{CONTINUED}"
    """| grep -E '^registry_proxy_(pulled|pushed)_bytes_total\\{type="blob"'"""
)
COUNTED = re.compile(r"_(pulled|pushed)_bytes_total\S+ (\S+)$", re.MULTILINE)


class Bytes(NamedTuple):
    """Of blobs: what the caches took from their upstream, and what they gave to nodes."""

    pulled: int
    pushed: int


class Pulls:
    """The scenes on `node`, whose containerd and pods know a registry of ours as Docker Hub."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._untouched = ""
        self._before = Bytes(0, 0)

    @cached_property
    def _hub(self) -> Upstream:
        roles = {"tokens": True, "public": True}
        return Upstream(self._node, HUB, account=Account(), auth_host="auth.docker.io", ca=PUBLIC, **roles)

    def prepare(self) -> None:
        """Start the registry with an image in it, and make volumes for the first mirror."""
        self._hub.prepare().start()
        self._hub.push(IMAGE.removeprefix("docker.io/"), (MEGABYTES,))
        self._node.add_volumes(VOLUMES)
        self._untouched = self._inside(FILES)

    def scenes(self) -> tuple[Scene, ...]:
        """All scenes, in order."""
        return (
            *ACCEPTED,
            Scene(ALL_MADE, self._made),
            *KEPT,
            Scene(ALL_AWAITED, self._credentials),
            Scene("A pod starts whose image has Docker Hub's name, and its bytes come through the mirror", self._first),
            Scene("The image is removed from the node and pulled again: the upstream gives no blob", self._again),
            Scene("The upstream is stopped, and the pull works: from the mirror", self._without_upstream),
            Scene("The mirror is stopped, and the pull works: from the upstream", self._without_mirror),
            Scene(f"{ALL_GONE}, from the node too", self._gone),
        )

    def _made(self, stage: Stage) -> None:
        stage.run(f"kubectl wait --for=condition=Ready rm/docker {PATIENCE}")
        made(stage)
        self._type(stage, f"cat {HOSTS_TOML}; tail -n 3 /etc/hosts")

    def _credentials(self, stage: Stage) -> None:
        self._node.add_volumes(VOLUMES)
        credentials(stage)

    def _first(self, stage: Stage) -> None:
        stage.run("kubectl apply -f deploy/examples/docker.yaml")
        stage.until("the status names Docker Hub", "get rm docker -o jsonpath={.status.upstream}", f"https://{HUB}")
        stage.run(f"kubectl rollout status statefulset {MIRROR} -n {NAMESPACE} {PATIENCE}")
        # Not by the file alone: what is written in Go reads the hosts file every five seconds, which Ready waits for.
        stage.run(f"kubectl wait --for=condition=Ready rm/docker {PATIENCE}")
        _pull(stage)
        self._before = _counted(stage)
        own = int(MEGABYTES * 1e6)
        stage.expect(f"more than {own} bytes went through the mirror", min(self._before) > own, expected=True)

    def _again(self, stage: Stage) -> None:
        self._forget(stage)
        blobs = self._hub.count("blob")
        _pull(stage)
        now = _counted(stage)
        stage.expect("the caches have taken nothing more from the upstream", now.pulled, self._before.pulled)
        stage.expect("they gave the node as much once more", now.pushed, 2 * self._before.pushed)
        stage.expect("the upstream's own log has no further blob", self._hub.count("blob"), blobs)

    def _without_upstream(self, stage: Stage) -> None:
        self._forget(stage)
        self._hub.stop()
        self._type(stage, f"curl --silent --show-error https://{HUB}/v2/")
        reason = "get rm docker -o jsonpath='{.status.conditions[?(@.type==\"UpstreamReachable\")].reason}'"
        stage.until("the mirror's status tells it", reason, "ConnectionRefused")
        stage.run("kubectl get rm docker")
        _pull(stage)

    def _without_mirror(self, stage: Stage) -> None:
        self._forget(stage)
        self._hub.start()
        blobs = self._hub.count("blob")
        _scale(stage, "deployment registrymirror-controller", 0)  # it would put the StatefulSet right
        _scale(stage, f"statefulset {MIRROR}", 0)
        stage.until("no cache pod is left", f"get pods -n {NAMESPACE} {OF_CACHES} -o name", "")
        _pull(stage)
        stage.expect("the upstream gave the blobs", self._hub.count("blob") > blobs, expected=True)
        self._until_on_node(stage, "the agent has taken the mirror out of the way", HOSTS_TOML, there=False)
        self._node.add_volumes(VOLUMES)  # the claims went with the replicas
        _scale(stage, "deployment registrymirror-controller", 2)
        self._until_on_node(stage, "the controller has put the mirror back, and the agent has noticed", HOSTS_TOML)

    def _gone(self, stage: Stage) -> None:
        stage.run("kubectl delete pod hello --now")
        gone(stage)
        left = self._type(stage, FILES)
        stage.expect("hosts file and files are those of before the first mirror", left, self._untouched)

    def _forget(self, stage: Stage) -> None:
        stage.run("kubectl delete pod hello --now")
        self._node.forget_image(IMAGE)
        left = self._type(stage, "ctr --namespace k8s.io images ls --quiet | grep hello")
        stage.expect("the image is no longer on the node", left, "")

    def _until_on_node(self, stage: Stage, what: str, path: str, *, there: bool = True) -> None:
        self._node.wait_for(what, lambda: self._node.exists(path) == there, DEADLINE_OF_PODS)
        stage.met(what)

    def _type(self, stage: Stage, command: str) -> str:
        return stage.run_by(self._inside, command, prompt=f"{self._node.name}# ")

    def _inside(self, command: str) -> str:
        done = self._node.run("sh", "-c", f"{command} 2>&1", check=False)
        return done.stdout


def _pull(stage: Stage) -> None:
    """Start the pod, which has to pull its image."""
    stage.run(f"kubectl run hello --image={IMAGE}")
    stage.run(f"kubectl wait --for=condition=Ready pod/hello {PATIENCE}")
    stage.until("it runs that very image", "logs hello", f"this is {IMAGE}")  # ready is sooner than its first word
    stage.run("kubectl logs hello")


def _counted(stage: Stage) -> Bytes:
    """What the caches have counted since they started."""
    found = COUNTED.findall(stage.run(COUNTERS))
    sums = {name: sum(int(float(value)) for each, value in found if each == name) for name in Bytes._fields}
    return Bytes(**sums)


def _scale(stage: Stage, what: str, replicas: int) -> None:
    stage.run(f"kubectl scale {what} -n {NAMESPACE} --replicas {replicas}")
