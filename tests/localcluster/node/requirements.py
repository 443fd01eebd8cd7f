"""Check that this machine can run a node."""

import os
import shutil
import sys
from pathlib import Path

NET_ADMIN, SYS_ADMIN = 12, 21  # numbers of capabilities(7)
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
CGROUPS = Path("/sys/fs/cgroup")


def unmet_requirement() -> str | None:
    """Return why this machine cannot run a node; None if it can."""
    if not sys.platform.startswith("linux"):
        return "A node needs Linux: containers are made of its namespaces and cgroups."
    if os.geteuid() != 0:
        return "A node needs root: it makes namespaces, mounts and network interfaces."
    if missing := [name for name, number in (("NET_ADMIN", NET_ADMIN), ("SYS_ADMIN", SYS_ADMIN)) if not _may(number)]:
        return f"A node needs the capability {' and '.join(missing)}, which root lacks here: is this a container?"
    if lacking := [name for name in CONTROLLERS if not (CGROUPS / name / "cgroup.procs").exists()]:
        return f"A node needs the cgroup (v1) controllers; there is no {', no '.join(lacking)} below {CGROUPS}."
    if not shutil.which("apt-get"):
        return "A node needs Debian or what is made of it: containerd, runc and the images' contents come by apt-get."
    return None


def _may(capability: int) -> bool:
    status = Path("/proc/self/status").read_text()
    (effective,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(effective, 16) >> capability & 1)
