"""The folder whose name is a list of roots: containerd's default puller takes its own default for one folder's name.

`/etc/containerd/certs.d:/etc/docker/certs.d` is a path like any other; with a link there to the folder that we write
to, containerd reads ours, without a restart. See containerd#12808.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.agent_protocol import RUNTIME_IGNORES_CERTS
from hostess.fs import owned_directories
from hostess.node_state import NodeConfigError


def provide(literal: str, target: Path) -> None:
    """Makes `literal` lead to `target`. Raises Hindrance where that is not ours to do."""
    place = Path(literal)
    if place.resolve() == target.resolve():
        return
    if target.parent not in place.parents or os.path.lexists(place):
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f"containerd takes its config_path {literal} for the name of one folder, which is none of ours: set"
            f' config_path = "{target}" and restart it.',
        )
    owned_directories.ensure(place.parent)
    place.symlink_to(target)


def remove(target: Path) -> None:
    """Removes the links that `provide` made; one in a folder of somebody else's is left."""
    for top in target.parent.glob(f"{target.name}:*"):
        for folder, names, others in os.walk(top, topdown=False):
            # To os.walk a link to a folder is a folder, and one that leads nowhere any more is none.
            for link in (Path(folder, name) for name in (*names, *others)):
                ours = link.is_symlink() and (link.parent / owned_directories.MARKER).exists()
                if ours and link.readlink() == target:
                    link.unlink()
            owned_directories.release(Path(folder))
