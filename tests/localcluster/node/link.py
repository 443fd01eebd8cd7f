"""Connect this machine to a node by a veth pair with its own network."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import IPV4, PREFIX, Families

# 198.18.0.0/15 is for benchmarks (RFC 2544), so no machine has these addresses. Each node has a /24 of the upper half.
NETWORK = "198.19"
NUMBERS = range(1, 255)
RECORD = "link"  # file in the cluster's folder with the network's number
TAKEN = "File exists"  # the kernel's message for an existing interface


@dataclass(frozen=True)
class Link:
    """The networks 198.19.`number`.0/24 and 2001:db8:19:`number`::/64, as far as the cluster has the family."""

    number: int

    @property
    def interface(self) -> str:
        """Return the interface of this machine."""
        return f"rm-node{self.number}"

    def address(self, host: int, family: str = IPV4) -> str:
        """Return an address: 1 is the node, 254 this machine, others are for servers in the node."""
        return f"{NETWORK}.{self.number}.{host}" if family == IPV4 else f"{PREFIX}:19:{self.number:x}::{host:x}"


def connect(pid: int, folder: Path, families: Families, number: int | None = None) -> Link:
    """Connect this machine to the network of process `pid` in the node of the cluster in `folder`, and record it.

    `number` is that of an earlier network of the node.
    """
    for each in NUMBERS if number is None else (number,):
        link = Link(each)
        made = _ip("link", "add", link.interface, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        if made.returncode == 0:
            folder.joinpath(RECORD).write_text(str(each))
            _address(link, pid, families)
            return link
        if TAKEN not in made.stderr:
            raise LocalClusterError(f"Cannot create a network interface for the node: {made.stderr.strip()}")
    raise LocalClusterError(f"All {len(NUMBERS)} networks for nodes are taken: see `ip link`.")


def of(folder: Path) -> Link:
    """Return the network of the node of the cluster in `folder`."""
    return Link(int(folder.joinpath(RECORD).read_text()))


def disconnect(folder: Path) -> None:
    """Remove the interface, if any.

    The kernel removes it with the node's network, but up to a minute later if a killed process had connections.
    """
    record = folder / RECORD
    if record.exists():
        _ip("link", "delete", of(folder).interface)  # fails if it does not exist
        record.unlink()


def _address(link: Link, pid: int, families: Families) -> None:
    inside = ("nsenter", f"--net=/proc/{pid}/ns/net", "--")
    for prefix, interface, host in (((), link.interface, 254), (inside, "eth0", 1)):
        for family in families.order:
            address = with_prefix(link.address(host, family), "24", "64")
            _must(*prefix, "ip", "address", "add", *address, "dev", interface)
        _must(*prefix, "ip", "link", "set", interface, "up")


def with_prefix(address: str, length4: str, length6: str) -> tuple[str, ...]:
    """Return the arguments of `ip address` for an address. `nodad`: it is usable at once."""
    return (f"{address}/{length6}", "nodad") if ":" in address else (f"{address}/{length4}",)


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
