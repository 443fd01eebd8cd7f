"""The namespaces of a node from outside: made by one `unshare`, entered by `nsenter`, gone with their first process."""

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
from tests.localcluster.node import cgroups, init, link
from tests.localcluster.node.link import Link
from tests.localcluster.processes import GRACE, POLL, Processes

DNS_ADDRESS = "10.96.0.10"  # a Service of CoreDNS, at the address that kubeadm gives it too
NAME = "node"  # of its first process among the cluster's
NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
# kubelet, containerd and kube-proxy look for iptables, mount and others in PATH, and many are in the second of these.
PATH = "/usr/bin:/usr/sbin:/bin:/sbin"
# A process joins cgroups by itself only, and namespaces of cgroups and processes count from its children on.
JOIN = 'groups=$1; shift; for group in $groups; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'


class Sandbox:
    """The namespaces of the node called `name`; its files lie in `folder`, its processes among `processes`."""

    def __init__(self, name: str, folder: Path, processes: Processes) -> None:
        self.name = name
        self.folder = folder
        self._processes = processes

    def start(self, number: int | None = None) -> None:
        """Make it; return when its mounts and its network are there. `number` is that of its cable, where it had one.

        In the folder of one that has ended it goes on with its /etc and its other files, as a machine does with a disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        cgroups.create(self._processes.folder)
        settings = init.Settings(self.name, str(self.folder), cgroups.controllers(), str(ready), DNS_ADDRESS)
        first = [sys.executable, "-I", "-S", str(Path(init.__file__)), json.dumps(asdict(settings))]
        unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation=private", "--", *first]
        self._processes.start(NAME, self._joined(unshare), {**os.environ, "PATH": PATH})
        self._processes.wait_ready(NAME, ready.exists)
        link.connect(self.pid, self._processes.folder, number)
        self._net.unlink(missing_ok=True)
        self._net.symlink_to(f"/proc/{self.pid}/ns/net")

    @property
    def pid(self) -> int:
        """The process id, as this machine counts, of the first process inside."""
        return self.pid_of(NAME)

    def pid_of(self, name: str) -> int:
        """Return the process id, as this machine counts, of a program inside; on record is what has entered for it."""
        return _child(self._processes.record(name).pid)

    @property
    def link(self) -> Link:
        """The network between this machine and the node."""
        return link.of(self._processes.folder)

    @property
    def network(self) -> tuple[str, ...]:
        """What goes before a command line to run it in the node's network, and nothing else of the node.

        The same words after a restart of the node too.
        """
        return ("nsenter", f"--net={self._net}", "--")

    @property
    def _net(self) -> Path:
        return self._processes.folder / "net"

    def run(
        self, argv: Sequence[str], stdin: bytes | None = None, *, check: bool = True, seconds: float = 300
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside to its end; with `check`, raises LocalClusterError with what it says when it fails."""
        done = subprocess.run(
            self._inside(argv),
            env={**_without_proxies(os.environ), "PATH": PATH},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        if check and done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise LocalClusterError(f"{' '.join(argv)} failed in the node: {said}")
        return done

    def launch(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a program inside, in the node's cgroups; its record and log are called `name`."""
        settings = {**_without_proxies(os.environ), "PATH": PATH, **(environment or {})}
        self._processes.start(name, self._joined(self._inside(argv)), settings)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the program called `name`, by SIGKILL after a while; return when it is gone."""
        for each in (number, signal.SIGKILL):
            if self._processes.alive(name):
                os.kill(self.pid_of(name), each)
            if self._wait_until_gone(name):
                return
        raise LocalClusterError(f"{name} does not end, not even by SIGKILL.")

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
    """Return the one child of a process, waiting until there is one."""
    limit = time.monotonic() + GRACE
    while time.monotonic() < limit:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(POLL)
    raise LocalClusterError(f"Process {pid} has started nothing within {GRACE:.0f} s.")


def _without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
