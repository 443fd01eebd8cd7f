"""List files on a node for comparison, and the processes of node agents."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from hostess.hostsfile import hosts_block
from tests.localcluster.node.node import CONTAINERD
from tests.localcluster.node.runtime import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.localcluster.node.node import Node

# Type, mode, path and link target of all files in the agents' folders. The kubelet's mount points stay, and only their
# content counts.
FIND = (
    r"find /etc/hosts /etc/containerd /etc/docker /etc/containers -printf '%y %m %p %l\n';"
    r"find /etc/mirror-hostess /var/lock/mirror-hostess -mindepth 1 -printf '%y %m %p %l\n' 2> /dev/null;"
    r"find /etc/hosts /etc/containerd /etc/docker /etc/containers -type f -exec sha256sum {} +"
)
# A process that the runtime is just starting has no such environment yet.
AGENTS = 'grep --files-with-matches --null-data --line-regexp "SERVICE_NAME=$1" /proc/[0-9]*/environ 2> /dev/null'


# Kinds whose objects come and go by themselves, or that record the past.
TRANSIENT = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "nodes", "componentstatuses"}


def object_names(node: Node) -> set[str]:
    """Return kind, namespace and name of all objects of the cluster."""
    run = node.cluster.run_kubectl
    kinds = set(run("api-resources", "--verbs=list", "-o", "name").stdout.split()) - TRANSIENT
    columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
    table = run("get", ",".join(sorted(kinds)), "--all-namespaces", "--no-headers", "-o", columns).stdout
    return {" ".join(line.split()) for line in table.splitlines()}


def traces(node: Node, *, in_motion: bool = False) -> set[str]:
    """Return all files in the agents' folders with their hashes; `in_motion` tolerates files that disappear."""
    return set(node.run("sh", "-c", FIND, check=not in_motion).stdout.splitlines())


def changed(node: Node, before: set[str]) -> set[str]:
    """Return the differences to an earlier list."""
    return traces(node, in_motion=True) ^ before


def entry(node: Node, mirror: str) -> bytes:
    """Return the lines of a mirror in the node's hosts file."""
    return hosts_block.parse(node.read("/etc/hosts")).blocks.get(mirror, b"")


def add_foreign(node: Node, lines: bytes) -> bytes:
    """Append foreign lines to the hosts file, wait for an agent to see them, and return all foreign lines.

    Agents move the lines of their mirrors behind all others.
    """
    node.append("/etc/hosts", lines)
    node.wait_for("the agent has seen foreign lines", lambda: _is_in_order(node.read("/etc/hosts")))
    return hosts_block.parse(node.read("/etc/hosts")).foreign


def _is_in_order(content: bytes) -> bool:
    return hosts_block.render(hosts_block.parse(content)) == content


def agents(node: Node, mirror: str) -> list[str]:
    """Return the process ids of a mirror's agents on the node."""
    output = node.run("sh", "-c", AGENTS, "sh", f"registry-mirror-{mirror}", check=False).stdout
    return [line.split("/")[2] for line in output.splitlines()]


def resident(node: Node, pid: str) -> int:
    """Return the resident memory of a process in bytes."""
    (line,) = [line for line in node.read(f"/proc/{pid}/status").splitlines() if line.startswith(b"VmRSS:")]
    return int(line.split()[1]) * 1024


@contextmanager
def config_path(node: Node, path: str) -> Iterator[None]:
    """Set containerd's config_path while the context is open."""
    with configuration(node, replace(node.runtime, config_path=path).configuration(node.folder)):
        yield


@contextmanager
def configuration(node: Node, text: str) -> Iterator[None]:
    """Restart containerd with this configuration for as long as the block lasts."""
    before = node.read(CONFIGURATION)
    configure(node, text.encode())
    try:
        yield
    finally:
        configure(node, before)


def configure(node: Node, content: bytes) -> None:
    """Restart containerd with another configuration."""
    node.stop_component(CONTAINERD)
    node.write(CONFIGURATION, content)
    node.start_component(CONTAINERD)
