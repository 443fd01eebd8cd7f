"""Name the container runtime of a node, as the kubelet reports it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

CONTAINERD: Final = "containerd"
CRI_O: Final = "cri-o"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Name and version as the kubelet reports them; both are empty if unknown."""

    name: str = ""
    version: tuple[int, int] | None = None

    def is_before(self, version: tuple[int, int]) -> bool:
        """Return True if the version is known and older."""
        return self.version is not None and self.version < version


def parse_version(text: str) -> Runtime:
    """Parse a Node's status.nodeInfo.containerRuntimeVersion, such as `containerd://2.4.2`."""
    name, _, version = text.partition("://")
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return Runtime(name, (int(numbers[1]), int(numbers[2])) if numbers else None)
