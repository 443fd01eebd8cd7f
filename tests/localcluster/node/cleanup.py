"""Remove cgroups and network interface of a node that has ended."""

from pathlib import Path

from tests.localcluster.node import cgroups, link


def remove(folder: Path) -> None:
    """Remove the remains of the node of the cluster in `folder`, if any."""
    link.disconnect(folder)
    cgroups.remove(folder)
