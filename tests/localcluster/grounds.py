"""What the demo is played on: an API server with our programs beside it, or a node on which they run as pods."""

import os
import sys
from collections.abc import Sequence
from typing import Protocol

from tests.localcluster import binaries, commands
from tests.localcluster import build as kubernetes
from tests.localcluster.cluster import Cluster
from tests.localcluster.node import dockerfiles, images, programs
from tests.localcluster.node.installed import Installed
from tests.localcluster.node.installed import programs as ours
from tests.localcluster.node.node import Node
from tests.localcluster.node.scenes import HUB, Pulls
from tests.localcluster.paper import Paper
from tests.localcluster.processes import LAST_LINES
from tests.localcluster.scenes import SCENES, Scene
from tests.localcluster.stage import DEADLINE_OF_PODS, Stage
from tests.localcluster.system import System

PROGRAMS = ("webhook", "controller")
PROBES = "5"  # seconds between two questions to an upstream, so that nobody has to wait for one


class Ground(Protocol):
    """A cluster with the system in it, made for one demo. All methods raise LocalClusterError."""

    title: str
    cluster: Cluster
    scenes: Sequence[Scene]

    def build(self) -> None:
        """Make what is missing, which takes minutes the first time, and is told on stderr."""

    def start(self, paper: Paper) -> Stage:
        """Start cluster and system; return where the scenes are played."""

    def last_words(self, program: str) -> str:
        """Return the end of what `webhook` or `controller` said; nothing where it never ran."""


class Beside:
    """An API server and its controllers, and our programs as processes of this machine."""

    title = "Kubernetes is started on this machine, and webhook and controller beside it"
    scenes: Sequence[Scene] = SCENES

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._system = System(cluster)

    def build(self) -> None:
        """Build the components."""
        binaries.locate([*commands.SERVERS, commands.KUBECTL], os.environ)

    def start(self, paper: Paper) -> Stage:
        """Start everything."""
        self.cluster.start()
        stage = Stage(self.cluster, paper)
        stage.run("kubectl version")
        self._system.install()
        self._system.start()
        stage.met("the manifests of deploy/ are applied, webhook and controller are ready")
        return stage

    def last_words(self, program: str) -> str:
        """Return the last lines of a program's log."""
        log = self._system.processes.log(program)
        return _end(log.read_text(errors="replace")) if log.exists() else ""


class OnNode:
    """A node with kubelet and containerd, our programs as pods of their images, and a stand-in for Docker Hub."""

    title = "Kubernetes is started on this machine with a node, webhook and controller as pods on it"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._node = Node(cluster)
        self._system = Installed(self._node, UPSTREAM_PROBE_SECONDS=PROBES)
        self._pulls = Pulls(self._node)
        self.scenes: Sequence[Scene] = self._pulls.scenes()

    def build(self) -> None:
        """Build Kubernetes, the node's programs and the images of both."""
        print("What this machine has not built yet is built first: many minutes, once.", file=sys.stderr, flush=True)
        kubernetes.build()
        _ = self._node.runtime
        images.base_images()
        programs.build(programs.REGISTRY)
        for program in ours():
            dockerfiles.build(program)

    def start(self, paper: Paper) -> Stage:
        """Start everything; the upstream first, which the controller asks after as soon as a mirror names it."""
        self._node.start()
        self._pulls.prepare()
        stage = Stage(self.cluster, paper, DEADLINE_OF_PODS)
        stage.run("kubectl get nodes -o wide")
        paper.note(f"{HUB} is played by a registry on this machine: no pull of the demo leaves it.")
        paper.note(f"What is typed after `{self._node.name}#` is typed on the node.")
        self._system.install()
        stage.run("kubectl get pods -n registry-mirror")
        stage.met("images are built by the Dockerfiles; `kubectl apply -k` of deploy/ with their names; all are ready")
        return stage

    def last_words(self, program: str) -> str:
        """Return the last lines of a program's pods."""
        return _end(self._system.logs(program)) if self.cluster.kubectl.exists() else ""


def _end(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:])
