"""What PersistentVolumes of a node are: folders, or file systems that end where they say they do."""

from collections.abc import Callable
from pathlib import Path

from common.types import Json

# No journal and nothing kept back for root, so that all of the size is a cache's to fill.
FORMAT = ("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal")


def make(run: Callable[..., object], folder: Path, megabytes: int | None) -> None:
    """Make a folder that anybody may write to; with `megabytes`, a file system of that size.

    On a file and not in memory: what is written to a tmpfs counts as the memory of the pod that writes.
    """
    run("mkdir", "--parents", str(folder))
    if megabytes is not None:
        file = f"{folder}.ext4"
        run("truncate", f"--size={megabytes}M", file)
        run(*FORMAT, file)
        run("mount", "-o", "loop", file, str(folder))
        run("rmdir", f"{folder}/lost+found")
    run("chmod", "0777", str(folder))


def persistent(folder: Path, size: str) -> Json:
    """Describe the PersistentVolume of a folder."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": folder.name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        },
    }
