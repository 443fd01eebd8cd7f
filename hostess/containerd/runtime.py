"""Name the container runtime of a node, as the kubelet reports it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

CONTAINERD: Final = "containerd"
CRI_O: Final = "cri-o"
_OF_K3S: Final = "-k3s"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Name and version as the kubelet reports them; both are empty if unknown.

    `is_of_k3s` is True for the containerd that k3s and RKE2 bring along.
    """

    name: str = ""
    version: tuple[int, int] | None = None
    is_of_k3s: bool = False

    def is_before(self, version: tuple[int, int]) -> bool:
        """Return True if the version is known and older."""
        return self.version is not None and self.version < version


def parse_version(text: str) -> Runtime:
    """Parse a Node's status.nodeInfo.containerRuntimeVersion, such as `containerd://2.4.2` or `containerd://2.1.4-k3s1`."""
    name, _, version = text.partition("://")
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return Runtime(name, (int(numbers[1]), int(numbers[2])) if numbers else None, _OF_K3S in version)
