"""Create PersistentVolumes of a node: folders, or file systems of a given size."""

from collections.abc import Callable
from pathlib import Path

from common.types import Json

# No journal and no reserved blocks, so that a cache can fill all of it.
FORMAT = ("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal")


def make(run: Callable[..., object], folder: Path, megabytes: int | None) -> None:
    """Create a folder that all users can write; with `megabytes`, a file system of that size.

    It is a file, not a tmpfs: a tmpfs counts as the memory of the pod.
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
    """Return the PersistentVolume of a folder."""
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
