"""Check that this machine can run a node."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

NET_ADMIN, SYS_ADMIN = 12, 21  # numbers of capabilities(7)
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
CGROUPS = Path("/sys/fs/cgroup")
# inotify instances of a node and its control plane: 18 with containerd 1.6, 19 with 2.x.
INOTIFY_INSTANCES = 20
INOTIFY_LIMIT = "fs.inotify.max_user_instances"


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


def lack_of_inotify() -> str | None:
    """Return a message if too few inotify instances are left for a node. The kubelet ends without one.

    This is not an unmet requirement: other programs of the user take and release them.
    """
    left = _available_inotify_instances(INOTIFY_INSTANCES)
    if left == INOTIFY_INSTANCES:
        return None
    return (
        f"A node needs {INOTIFY_INSTANCES} inotify instances, and root has {left} left. "
        f"Stop other local clusters, or raise the limit: `sysctl {INOTIFY_LIMIT}=512`."
    )


def _available_inotify_instances(wanted: int) -> int:
    """Return how many instances this user can create, at most `wanted`. No file shows how many exist."""
    library = ctypes.CDLL(None)
    created = [library.inotify_init1(os.O_CLOEXEC) for _ in range(wanted)]
    opened = [descriptor for descriptor in created if descriptor >= 0]
    for descriptor in opened:
        os.close(descriptor)
    return len(opened)


def _may(capability: int) -> bool:
    status = Path("/proc/self/status").read_text()
    (effective,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(effective, 16) >> capability & 1)
