"""Control a running node: commands, files, names, volumes, packet loss."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common.types import Json
from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import DNS, Families
from tests.localcluster.node import volumes
from tests.localcluster.node.sandbox import Sandbox
from tests.localcluster.processes import Processes, resident_bytes

NAMES = "/etc/local-names/hosts"  # names that CoreDNS serves besides those of the cluster
PAUSE = 0.1  # seconds between two polls; each starts a program
DEADLINE = 90.0  # seconds; usually 9, a minute on a machine that compiles
EVERY_CHAIN = ("OUTPUT", "PREROUTING")
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"


class Inside:
    """The running node called `name`, with its files in `folder`. Methods raise LocalClusterError."""

    def __init__(self, cluster: Cluster, folder: Path, name: str, families: Families) -> None:
        self.cluster = cluster
        self.folder = folder
        self.name = name
        self.processes = Processes(cluster.folder)
        self.families = families
        self.sandbox = Sandbox(name, folder, self.processes, families)

    @property
    def address(self) -> str:
        """Return the node's first address, which this machine can reach."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[str]:
        """Return the node's address of each family of the cluster."""
        return [self.sandbox.link.address(1, family) for family in self.families.order]

    def run(self, *argv: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the node; with `check`, raises LocalClusterError if it fails."""
        done = self.sandbox.run(argv, None if stdin is None else stdin.encode(), check=check)
        out, error = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(done.args, done.returncode, out, error)

    def read(self, path: str) -> bytes:
        """Return the content of a file of the node."""
        return self.sandbox.run(["cat", path]).stdout

    def write(self, path: str, content: str | bytes) -> None:
        """Write a file of the node in place; create its folders."""
        content = content.encode() if isinstance(content, str) else content
        self.sandbox.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path], content)

    def append(self, path: str, content: str | bytes) -> None:
        """Append to a file of the node; create it if needed."""
        content = content.encode() if isinstance(content, str) else content
        self.sandbox.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >> "$1"', "sh", path], content)

    def exists(self, path: str) -> bool:
        """Return True if a path of the node exists."""
        return self.run("test", "-e", path, check=False).returncode == 0

    def answers(self, address: str, port: int) -> bool:
        """Return True if the node can open a TCP connection to an address, also that of a Service."""
        ask = [*self.sandbox.network, sys.executable, "-I", "-S", "-c", CONNECT, address, str(port)]
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0

    def resident_bytes(self, name: str) -> int:
        """Return the resident memory of a program in the node, in bytes."""
        return resident_bytes(self.sandbox.pid_of(name))

    def drop_packets(
        self, address: str, *, source: str | None = None, share: float = 1.0, chains: tuple[str, ...] = EVERY_CHAIN
    ) -> None:
        """Drop packets to `address`, also that of a Service.

        `source` limits this to packets from a pod's address, `share` to a random share of them, the chain OUTPUT to
        packets from the node itself.
        """
        self._firewall("--insert", address, source, share, chains)

    def let_packets(
        self, address: str, *, source: str | None = None, share: float = 1.0, chains: tuple[str, ...] = EVERY_CHAIN
    ) -> None:
        """Undo drop_packets."""
        self._firewall("--delete", address, source, share, chains)

    def add_name(self, name: str, address: str) -> None:
        """Set the address of `name` for the node and its pods; return when CoreDNS serves it, after about 1 s.

        Not through /etc/hosts: Go programs such as containerd read it only every five seconds.
        """
        found = self.read(NAMES).decode().splitlines(keepends=True)
        kept = [line for line in found if line.split()[1:] != [name]]
        self.write(NAMES, "".join([*kept, f"{address} {name}\n"]))
        ask = ("busybox", "nslookup", name, DNS[self.families.first])
        self.wait_for(f"{name} is {address}", lambda: f" {address}\n" in self.run(*ask, check=False).stdout)

    def add_volumes(self, count: int, size: str = "20Gi", *, megabytes: int | None = None) -> list[Path]:
        """Create PersistentVolumes of the default StorageClass with the capacity `size`; return their folders.

        With `megabytes` each is a file system of that size, otherwise a folder of the node.
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
        """Poll until `question` returns True; raises LocalClusterError with `what` at the deadline."""
        limit = time.monotonic() + seconds
        while not question():
            if time.monotonic() > limit:
                raise LocalClusterError(f"{what}: not within {seconds:.0f} s. See {self.cluster.folder / 'logs'}.")
            time.sleep(pause)

    def _firewall(self, what: str, address: str, source: str | None, share: float, chains: tuple[str, ...]) -> None:
        # The table `raw` sees a Service's address before it is translated.
        for chain in chains:
            sender = ("--source", source) if source else ()
            chance = ("-m", "statistic", "--mode", "random", "--probability", str(share)) if share < 1 else ()
            rule = (*sender, "--destination", address, *chance, "--jump", "DROP")
            self.run("ip6tables" if ":" in address else "iptables", "--wait", "--table", "raw", what, chain, *rule)
