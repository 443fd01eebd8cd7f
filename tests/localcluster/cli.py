"""Define the commands except `demo`; all take the cluster's folder and return the exit status."""

import os
import time
from contextlib import AbstractContextManager
from pathlib import Path

from tests.localcluster import build as builder
from tests.localcluster import trial
from tests.localcluster.cert_manager import CERT_MANAGER
from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import SINGLE, Families
from tests.localcluster.locks import exclusive
from tests.localcluster.node import programs
from tests.localcluster.node.node import Node
from tests.localcluster.node.requirements import lack_of_inotify, unmet_requirement
from tests.localcluster.node.runtime import FLAVOURS

FIRST_COMMANDS = "first-commands.sh"


def up(folder: Path, flavour: str | None = None, families: Families = SINGLE, *, system: bool = False) -> int:
    """Start the cluster if it is not up, and leave it running. An interrupted start leaves nothing behind.

    `flavour` is the node's container runtime, None for a cluster without a node. With `system` it has the whole system,
    and the output ends with commands to try it.
    """
    with _alone():
        return _up(Cluster(folder), flavour, families, system=system)


def down(folder: Path) -> int:
    """Stop the cluster and remove its folder."""
    cluster = Cluster(folder)
    if not cluster.folder.exists():
        print(f"No cluster is up: {cluster.folder} does not exist.")
        return 0
    begun = time.monotonic()
    with _alone():
        cluster.remove()
    print(f"Stopped the cluster and removed {cluster.folder}, in {time.monotonic() - begun:.1f} s.")
    return 0


def status(folder: Path) -> int:
    """Print what runs; return 0 if all started components run."""
    cluster = Cluster(folder)
    for name in cluster.components:
        memory = f"{cluster.resident_bytes(name) / 1e6:5.0f} MB" if cluster.alive(name) else "ended"
        print(f"{name:<24} {memory}")
    running = bool(cluster.components) and all(cluster.alive(name) for name in cluster.components)
    print(f"Up at {cluster.url}." if running else f"Not up: {cluster.folder}")
    return 0 if running else 1


def build(_: Path, *, cert_manager: bool = False) -> int:
    """Build the components and, on request, cert-manager; print their paths."""
    print(builder.build())
    if cert_manager:
        print(programs.build(CERT_MANAGER))
    return 0


def helm(_: Path) -> int:
    """Build helm if needed; print its path."""
    print(programs.build(programs.HELM))
    return 0


def check_node(_: Path) -> int:
    """Print if this machine can run a node now; return 0 if it can."""
    reason = unmet_requirement() or lack_of_inotify()
    print(reason or "This machine can run a node.")
    return 1 if reason else 0


def _up(cluster: Cluster, flavour: str | None, families: Families, *, system: bool) -> int:
    alive = {name: cluster.alive(name) for name in cluster.components}
    commands = cluster.folder / FIRST_COMMANDS
    if alive and all(alive.values()):
        if system and not commands.exists():
            raise LocalClusterError(f"The cluster in {cluster.folder} is up without the system. Run `make down` first.")
        print(f"The cluster in {cluster.folder} is already up at {cluster.url}.")
    elif any(alive.values()):
        dead = ", ".join(name for name, lives in alive.items() if not lives)
        raise LocalClusterError(
            f"The cluster in {cluster.folder} is incomplete: {dead} has ended; see its log there. "
            "Run `make down`, then start it again."
        )
    else:
        _start(cluster, flavour, families, system=system)
    print("Stop it with `make down`.")
    print(commands.read_text() if commands.exists() else f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _alone() -> AbstractContextManager[None]:
    """Exclude a second `up` or `down` of this user in the same folder."""
    return exclusive(builder.cache_folder(os.environ) / "up.lock", "another `up` or `down`")


def _start(cluster: Cluster, flavour: str | None, families: Families, *, system: bool) -> None:
    cluster.remove()  # remains of a crash
    begun = time.monotonic()
    node = Node(cluster, flavour=flavour or FLAVOURS[0], families=families) if flavour or system else None
    try:
        node.start() if node else cluster.start(extra_apiserver_args=families.api_server_arguments)
        if node and system:
            print("Installing the system. The first time, this builds its images and helm.", flush=True)
            (cluster.folder / FIRST_COMMANDS).write_text(trial.start(node))
    except KeyboardInterrupt:
        cluster.remove()  # other failures keep the logs until the next `up` or `down`
        raise
    cluster.detach()
    for step, seconds in {**cluster.timings, **(node.timings if node else {})}.items():
        print(f"{seconds:6.2f} s  {step}")
    print(f"Kubernetes is up at {cluster.url}, after {time.monotonic() - begun:.1f} s.", flush=True)
