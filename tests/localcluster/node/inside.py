"""What can be done in a node while it runs: commands, files, names, volumes, a hole in its network."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common.types import Json
from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.node import volumes
from tests.localcluster.node.sandbox import DNS_ADDRESS, Sandbox
from tests.localcluster.processes import Processes, resident_bytes

NAMES = "/etc/local-names/hosts"  # what CoreDNS answers with, beside the cluster's own names
# Seconds between two questions: each is a program that is started, which takes from what is waited for.
PAUSE = 0.1
DEADLINE = 90.0  # seconds; 6 to 9 are usual, a machine that compiles at the same time takes a minute
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"


class Inside:
    """The inside of the node called `name`, whose files are in `folder`. Methods raise LocalClusterError."""

    def __init__(self, cluster: Cluster, folder: Path, name: str) -> None:
        self.cluster = cluster
        self.folder = folder
        self.name = name
        self.processes = Processes(cluster.folder)
        self.sandbox = Sandbox(name, folder, self.processes)

    @property
    def address(self) -> str:
        """The node's address, which this machine reaches."""
        return self.sandbox.link.address(1)

    def run(self, *argv: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the node to its end; with `check`, raises LocalClusterError when it fails."""
        done = self.sandbox.run(argv, None if stdin is None else stdin.encode(), check=check)
        out, error = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(done.args, done.returncode, out, error)

    def read(self, path: str) -> bytes:
        """Return the content of a file of the node."""
        return self.sandbox.run(["cat", path]).stdout

    def write(self, path: str, content: str | bytes) -> None:
        """Write a file of the node in place, the folders above it made first."""
        content = content.encode() if isinstance(content, str) else content
        self.sandbox.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path], content)

    def append(self, path: str, content: str | bytes) -> None:
        """Put something at the end of a file of the node, made where there is none."""
        content = content.encode() if isinstance(content, str) else content
        self.sandbox.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >> "$1"', "sh", path], content)

    def exists(self, path: str) -> bool:
        """Whether there is anything at a path of the node."""
        return self.run("test", "-e", path, check=False).returncode == 0

    def answers(self, address: str, port: int) -> bool:
        """Whether somebody takes TCP connections there, as the node sees it; a Service's address is one too."""
        ask = [*self.sandbox.network, sys.executable, "-I", "-S", "-c", CONNECT, address, str(port)]
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0

    def resident_bytes(self, name: str) -> int:
        """Return the resident memory of a program that was started in the node, in bytes."""
        return resident_bytes(self.sandbox.pid_of(name))

    def drop_packets(self, address: str, *, source: str | None = None, share: float = 1.0) -> None:
        """Let every packet to `address`, a Service's too, vanish, as if the network had a hole there.

        With `source` those alone that come from there, an address of a pod; with `share` so many of them by chance.
        """
        self._firewall("--insert", address, source, share)

    def let_packets(self, address: str, *, source: str | None = None, share: float = 1.0) -> None:
        """Undo drop_packets."""
        self._firewall("--delete", address, source, share)

    def add_name(self, name: str, address: str) -> None:
        """Let the node and its pods know `name` as `address`, whatever it was; return when CoreDNS says so, in 1 s.

        Not by /etc/hosts: what is written in Go, as containerd, looks at that no more than each five seconds.
        """
        found = self.read(NAMES).decode().splitlines(keepends=True)
        kept = [line for line in found if line.split()[1:] != [name]]
        self.write(NAMES, "".join([*kept, f"{address} {name}\n"]))
        ask = ("busybox", "nslookup", name, DNS_ADDRESS)
        self.wait_for(f"{name} is {address}", lambda: f" {address}\n" in self.run(*ask, check=False).stdout)

    def add_volumes(self, count: int, size: str = "20Gi", *, megabytes: int | None = None) -> list[Path]:
        """Make PersistentVolumes of the default StorageClass, which say that they hold `size`; return their folders.

        With `megabytes` they really end there: each is a file system of its own. Else they are folders of the node.
        """
        known = self.cluster.run_kubectl("get", "pv", "-o", "name").stdout.count("\n")
        folders = [self.folder / "volumes" / f"by-hand-{number}" for number in range(known, known + count)]
        for folder in folders:
            volumes.make(self.run, folder, megabytes)
        self.apply([volumes.persistent(folder, size) for folder in folders])
        return folders

    def apply(self, objects: list[Json]) -> None:
        """Apply objects as administrator."""
        manifest = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.cluster.run_kubectl("apply", "--filename=-", stdin=json.dumps(manifest))

    def wait_for(
        self, what: str, question: Callable[[], bool], seconds: float = DEADLINE, pause: float = PAUSE
    ) -> None:
        """Ask until the answer is yes; raises LocalClusterError naming `what` when that takes longer."""
        limit = time.monotonic() + seconds
        while not question():
            if time.monotonic() > limit:
                raise LocalClusterError(f"{what}: not within {seconds:.0f} s. See {self.cluster.folder / 'logs'}.")
            time.sleep(pause)

    def _firewall(self, what: str, address: str, source: str | None, share: float) -> None:
        # in the table `raw`, which packets pass before a Service's address becomes a pod's
        for chain in ("OUTPUT", "PREROUTING"):
            whose = ("--source", source) if source else ()
            chance = ("-m", "statistic", "--mode", "random", "--probability", str(share)) if share < 1 else ()
            rule = (*whose, "--destination", address, *chance, "--jump", "DROP")
            self.run("iptables", "--wait", "--table", "raw", what, chain, *rule)
