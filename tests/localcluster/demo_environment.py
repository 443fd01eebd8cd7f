"""Prepare the cluster of the demo: an API server with our programs as processes, or a node with them as pods."""

import os
import sys
from collections.abc import Sequence
from typing import Protocol

from tests.localcluster import binaries, commands
from tests.localcluster import build as kubernetes
from tests.localcluster.cluster import Cluster
from tests.localcluster.demo_shell import DEADLINE_OF_PODS, DemoShell
from tests.localcluster.demo_steps import STEPS, Step
from tests.localcluster.node import dockerfiles, images, programs, release
from tests.localcluster.node.demo_steps import PullSteps
from tests.localcluster.node.hub import HUB
from tests.localcluster.node.installed import Installed
from tests.localcluster.node.installed import programs as ours
from tests.localcluster.node.node import Node
from tests.localcluster.output import Output
from tests.localcluster.processes import LAST_LINES
from tests.localcluster.system import System

PROGRAMS = ("webhook", "controller")


class DemoEnvironment(Protocol):
    """A cluster with the system for one demo. All methods raise LocalClusterError."""

    title: str
    cluster: Cluster
    steps: Sequence[Step]

    def build(self) -> None:
        """Build missing programs and print the progress to stderr; the first time this takes minutes."""

    def start(self, output: Output) -> DemoShell:
        """Start cluster and system; return the shell for the steps."""

    def last_lines(self, program: str) -> str:
        """Return the last log lines of `webhook` or `controller`; empty if it never ran."""


class WithoutNode:
    """An API server with its controllers; webhook and controller are processes of this machine."""

    title = "Start Kubernetes, the webhook and the controller on this machine"
    steps: Sequence[Step] = STEPS

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._system = System(cluster)

    def build(self) -> None:
        """Build the components."""
        binaries.locate([*commands.SERVERS, commands.KUBECTL], os.environ)

    def start(self, output: Output) -> DemoShell:
        """Start the cluster, then the system."""
        self.cluster.start()
        shell = DemoShell(self.cluster, output)
        shell.run("kubectl version")
        self._system.install()
        self._system.start()
        shell.met("The manifests in deploy/ are applied; webhook and controller are ready")
        return shell

    def last_lines(self, program: str) -> str:
        """Return the last lines of a program's log."""
        log = self._system.processes.log(program)
        return _end(log.read_text(errors="replace")) if log.exists() else ""


class WithNode:
    """A node with kubelet and containerd; our programs are pods, and a local registry replaces Docker Hub."""

    title = "Start Kubernetes with a node on this machine, and webhook and controller as pods"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._node = Node(cluster)
        self._system = Installed(self._node)
        self._steps = PullSteps(self._node)
        self.steps: Sequence[Step] = self._steps.steps()

    def build(self) -> None:
        """Build Kubernetes, the node's programs and the images of both."""
        print("Building missing programs. The first time this takes many minutes.", file=sys.stderr, flush=True)
        kubernetes.build()
        _ = self._node.runtime
        images.base_images()
        for each in (programs.REGISTRY, programs.HELM):
            programs.build(each)
        for program in ours():
            dockerfiles.build(program)

    def start(self, output: Output) -> DemoShell:
        """Start the node, then the upstream, then the system: a cache probes its upstream at its start."""
        self._node.start()
        self._steps.prepare()
        shell = DemoShell(self.cluster, output, DEADLINE_OF_PODS)
        shell.run("kubectl get nodes -o wide")
        output.note(f"A registry on this machine replaces {HUB}; no pull leaves the machine.")
        output.note(f"Commands after `{self._node.name}#` run on the node.")
        release.install(self._system, shell.run)
        shell.run("kubectl get pods -n registry-mirror")
        shell.met("The images are built, the chart is installed with their registry, and all pods are ready")
        return shell

    def last_lines(self, program: str) -> str:
        """Return the last lines of a program's pods."""
        return _end(self._system.logs(program)) if self.cluster.kubectl.exists() else ""


def _end(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:])
