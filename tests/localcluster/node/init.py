"""Run as the first process of a node, in its namespaces: mount its file systems, then reap orphans until SIGTERM.

Called as `python init.py <json>` with the fields of `Settings`; imports the standard library only. When it ends, the
kernel ends all processes, mounts and interfaces of the node.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FORWARDING = Path("/proc/sys/net")
SWITCHES = {"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"}
# The gateway of a new pod is usable at once, and not after a second of looking for another owner.
SWITCHES_OF_IPV6 = {"ipv6/conf/all/forwarding": "1", "ipv6/conf/default/dad_transmits": "0"}
# Folders of the node's own, below its folder.
OWN_FOLDERS = {"/var/lib/kubelet": "kubelet", "/var/log": "log", "/opt": "opt"}


@dataclass(frozen=True)
class Settings:
    """The node's `folder`, cgroup v1 `controllers`, the file `ready` to create at the end, and the DNS server.

    `ipv6`: the cluster has addresses of that family.
    """

    name: str
    folder: str
    controllers: list[str]
    ready: str
    dns: str
    ipv6: bool


def main(settings: Settings) -> None:
    """Create the node's mounts and network, report readiness, and wait."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    folder = Path(settings.folder)
    _run("mount", "--make-rshared", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    _run("hostname", settings.name)
    _mount_cgroups(settings.controllers)
    _mount_run()
    _mount_etc(folder, settings)
    _mount_folders(folder)
    _set_up_network(ipv6=settings.ipv6)
    Path(settings.ready).touch()
    _bury_orphans()


def _mount_cgroups(controllers: list[str]) -> None:
    """Mount sysfs of this network namespace, and the cgroups of this cgroup namespace."""
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup")
    for name in controllers:
        path = Path("/sys/fs/cgroup", name)
        path.mkdir()
        _run("mount", "-t", "cgroup", "-o", "none,name=systemd" if name == "systemd" else name, "cgroup", str(path))


def _mount_run() -> None:
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("lock", "netns"):
        Path("/run", name).mkdir()
    _run("mount", "--make-rshared", "/")


def _mount_etc(folder: Path, settings: Settings) -> None:
    """Mount an overlay on /etc: writes stay in the node.

    A restarted node has its earlier files.
    """
    upper, work = folder / "etc", folder / "etc-work"
    is_new = not upper.exists()
    for each in (upper, work):
        each.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "overlay", "-o", f"lowerdir=/etc,upperdir={upper},workdir={work}", "overlay", "/etc")
    if is_new:
        _furnish_etc(settings)


def _furnish_etc(settings: Settings) -> None:
    # A folder of the machine's own docker keeps its link count when it is removed in the overlay.
    shutil.rmtree("/etc/docker", ignore_errors=True)
    for certs in ("/etc/containerd/certs.d", "/etc/docker/certs.d"):
        Path(certs).mkdir(parents=True, exist_ok=True)
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost {settings.name}\n")
    resolver = Path("/etc/resolv.conf")
    resolver.unlink(missing_ok=True)
    # CoreDNS serves all names, for the node and its pods.
    resolver.write_text(f"nameserver {settings.dns}\noptions timeout:1 attempts:2\n")


def _mount_folders(folder: Path) -> None:
    for target, name in OWN_FOLDERS.items():
        folder.joinpath(name).mkdir(exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(folder / name), target)


def _set_up_network(*, ipv6: bool) -> None:
    """Start the loopback and a default route that leads nowhere: Services need one, and no packet leaves the node."""
    _run("ip", "link", "set", "lo", "up")
    # A veth, as some kernels have no dummy device.
    _run("ip", "link", "add", "nowhere", "arp", "off", "type", "veth", "peer", "name", "nobody")
    for name in ("nobody", "nowhere"):
        _run("ip", "link", "set", name, "up")
    for version in ("-4", "-6") if ipv6 else ("-4",):
        _run("ip", version, "route", "add", "default", "dev", "nowhere")
    for name, value in {**SWITCHES, **(SWITCHES_OF_IPV6 if ipv6 else {})}.items():
        FORWARDING.joinpath(name).write_text(value)


def _bury_orphans() -> None:
    awaited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    while signal.sigwait(awaited) == signal.SIGCHLD:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
