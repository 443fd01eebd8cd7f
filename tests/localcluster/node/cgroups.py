"""Manage the cgroups (v1) of a node: one in each hierarchy, below that of this program."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

MOUNTS = Path("/proc/mounts")
OWN = Path("/proc/self/cgroup")
PREFIX = "registry-mirror-node-"
RECORD = "cgroups"  # file in the cluster's folder with one path per line
TIMEOUT = 10.0  # seconds until the last process ends; usually 0.1
POLL = 0.02  # seconds


def create(folder: Path) -> None:
    """Create and record the cgroups for the node of the cluster in `folder`."""
    groups = list(_groups(folder))
    folder.joinpath(RECORD).write_text("".join(f"{group}\n" for group in groups))
    for group in groups:
        group.mkdir(exist_ok=True)
        _prepare(group)


def of(folder: Path) -> list[Path]:
    """Return the created cgroups, empty without a node."""
    try:
        return [Path(line) for line in folder.joinpath(RECORD).read_text().splitlines()]
    except FileNotFoundError:
        return []


def remove(folder: Path) -> None:
    """Remove the cgroups of an ending node, if any."""
    limit = time.monotonic() + TIMEOUT
    while any(group.exists() for group in of(folder)) and time.monotonic() < limit:
        for group in of(folder):
            _remove(group)
        time.sleep(POLL)
    folder.joinpath(RECORD).unlink(missing_ok=True)


def controllers() -> list[str]:
    """Return the names of this machine's hierarchies: `memory`, `cpu,cpuacct`, `systemd`."""
    return [path.name for path in _hierarchies()]


def _remove(group: Path) -> None:
    for path, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):  # one of its processes still ends
            Path(path).rmdir()


def _groups(folder: Path) -> Iterator[Path]:
    name = PREFIX + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    ours = _own_paths()
    for hierarchy in _hierarchies():
        above = next((path for names, path in ours if hierarchy.name in names), "/")
        yield hierarchy / above.strip("/") / name


def _hierarchies() -> list[Path]:
    mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    return [Path(target) for _, target, kind, *_ in mounts if kind == "cgroup"]


def _own_paths() -> list[tuple[set[str], str]]:
    """Return the names of each hierarchy (`cpu,cpuacct`, `cpu`, `systemd`) and this program's path in it."""
    lines = [line.split(":", 2) for line in OWN.read_text().splitlines()]
    return [({names, *names.split(","), names.removeprefix("name=")}, path) for _, names, path in lines]


def _prepare(group: Path) -> None:
    """Copy the parent's cpuset, as an empty one admits no process. Let memory include child groups."""
    if group.joinpath("cpuset.cpus").exists():
        for name in ("cpuset.cpus", "cpuset.mems"):
            group.joinpath(name).write_text(group.parent.joinpath(name).read_text())
        group.joinpath("cgroup.clone_children").write_text("1")
    if group.joinpath("memory.use_hierarchy").exists():
        with contextlib.suppress(OSError):  # a parent has set it
            group.joinpath("memory.use_hierarchy").write_text("1")
