"""Manage the namespaces of a node: `unshare` creates them, `nsenter` enters them, their first process ends them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import DNS, IPV6, Families
from tests.localcluster.node import cgroups, init, link
from tests.localcluster.node.link import Link
from tests.localcluster.processes import GRACE, POLL, Processes

NAME = "node"  # of the first process
NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
# kubelet, containerd and kube-proxy need programs such as iptables and mount.
PATH = "/usr/bin:/usr/sbin:/bin:/sbin"
# A process can only join cgroups by itself. PID and cgroup namespaces apply to its children.
JOIN = 'groups=$1; shift; for group in $groups; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'


class Sandbox:
    """The namespaces of the node called `name`, with its files in `folder`."""

    def __init__(self, name: str, folder: Path, processes: Processes, families: Families) -> None:
        self.name = name
        self.folder = folder
        self.families = families
        self._processes = processes

    def start(self, number: int | None = None) -> None:
        """Create the namespaces; return when mounts and network exist. `number` is that of an earlier network.

        The folder of an ended node keeps its /etc and other files, as a disk does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        cgroups.create(self._processes.folder)
        dns, has_ipv6 = DNS[self.families.first], IPV6 in self.families.order
        settings = init.Settings(self.name, str(self.folder), cgroups.controllers(), str(ready), dns, has_ipv6)
        first = [sys.executable, "-I", "-S", str(Path(init.__file__)), json.dumps(asdict(settings))]
        unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation=private", "--", *first]
        self._processes.start(NAME, self._joined(unshare), {**os.environ, "PATH": PATH})
        self._processes.wait_ready(NAME, ready.exists)
        link.connect(self.pid, self._processes.folder, self.families, number)
        self._net.unlink(missing_ok=True)
        self._net.symlink_to(f"/proc/{self.pid}/ns/net")

    @property
    def pid(self) -> int:
        """Return the process id on this machine of the first process."""
        return self.pid_of(NAME)

    def pid_of(self, name: str) -> int:
        """Return the process id on this machine of a program in the node; the record has that of nsenter."""
        return _child(self._processes.record(name).pid)

    @property
    def link(self) -> Link:
        """Return the network between this machine and the node."""
        return link.of(self._processes.folder)

    @property
    def network(self) -> tuple[str, ...]:
        """Return the prefix of a command line to run it in the node's network only. It stays valid after a restart."""
        return ("nsenter", f"--net={self._net}", "--")

    @property
    def _net(self) -> Path:
        return self._processes.folder / "net"

    def run(
        self, argv: Sequence[str], stdin: bytes | None = None, *, check: bool = True, seconds: float = 300
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the node; with `check`, raises LocalClusterError with its output if it fails."""
        done = subprocess.run(
            self._inside(argv),
            env={**_without_proxies(os.environ), "PATH": PATH},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        if check and done.returncode:
            message = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise LocalClusterError(f"{' '.join(argv)} failed in the node: {message}")
        return done

    def launch(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a program in the node and its cgroups; its record and log are called `name`."""
        settings = {**_without_proxies(os.environ), "PATH": PATH, **(environment or {})}
        self._processes.start(name, self._joined(self._inside(argv)), settings)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the program `name`, later SIGKILL; return when it has ended."""
        for each in (number, signal.SIGKILL):
            if self._processes.alive(name):
                os.kill(self.pid_of(name), each)
            if self._wait_until_gone(name):
                return
        raise LocalClusterError(f"SIGKILL does not end {name}.")

    def _inside(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self.pid}", *NAMESPACES, "--wd=/", "--", *argv]

    def _joined(self, argv: Sequence[str]) -> list[str]:
        groups = " ".join(map(str, cgroups.of(self._processes.folder)))
        return ["sh", "-c", JOIN, "sh", groups, *argv]

    def _wait_until_gone(self, name: str) -> bool:
        limit = time.monotonic() + GRACE
        while (alive := self._processes.alive(name)) and time.monotonic() < limit:
            time.sleep(POLL)
        return not alive


def _child(pid: int) -> int:
    """Wait for the child of a process; return its process id."""
    limit = time.monotonic() + GRACE
    while time.monotonic() < limit:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(POLL)
    raise LocalClusterError(f"Process {pid} has started nothing within {GRACE:.0f} s.")


def _without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
