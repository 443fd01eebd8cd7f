"""Link the folder whose name is a list of roots: containerd's default puller takes its default for one folder's name.

With a link `/etc/containerd/certs.d:/etc/docker/certs.d` to our folder, containerd reads ours without a restart. See
containerd#12808.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.agent_protocol import RUNTIME_IGNORES_CERTS
from hostess.fs import owned_directories
from hostess.node_state import NodeConfigError


def provide(literal: str, target: Path) -> None:
    """Link `literal` to `target`. Raises NodeConfigError if that path is foreign."""
    link = Path(literal)
    if link.resolve() == target.resolve():
        return
    if target.parent not in link.parents or os.path.lexists(link):
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f"containerd takes its config_path {literal} for one folder, which is not ours. Set config_path ="
            f' "{target}" and restart containerd.',
        )
    owned_directories.ensure(link.parent)
    link.symlink_to(target)


def remove(target: Path) -> None:
    """Remove the links that `provide` made; links in foreign folders stay."""
    for top in target.parent.glob(f"{target.name}:*"):
        for folder, names, files in os.walk(top, topdown=False):
            # os.walk lists a link to a folder with the folders, and a dangling link with the files.
            for link in (Path(folder, name) for name in (*names, *files)):
                is_ours = link.is_symlink() and owned_directories.is_owned(link.parent)
                if is_ours and link.readlink() == target:
                    link.unlink()
            owned_directories.release(Path(folder))
