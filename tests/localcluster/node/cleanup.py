"""What a node leaves when its processes have ended: cgroups, and sometimes the cable to it."""

from pathlib import Path

from tests.localcluster.node import cgroups, link


def remove(folder: Path) -> None:
    """Remove what the node of the cluster in `folder` has left; nothing happens where there was none."""
    link.disconnect(folder)
    cgroups.remove(folder)
