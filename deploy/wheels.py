"""Print the options with which pip chooses wheels for an architecture: `python3 wheels.py arm64`.

Nothing is printed for the architecture of this machine, and without an argument. So an image is built for another
architecture without emulation.
"""

from __future__ import annotations

import platform
import sys
from typing import Final

MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST_GLIBC: Final = 17  # minor version of the oldest wheels; pip prefers the first option


def options(architecture: str, machine: str, glibc: str) -> list[str]:
    """Return the options for an architecture on a `machine`, up to the `glibc` (`2.36`) of this image."""
    wanted = MACHINES.get(architecture, architecture)
    if wanted in ("", machine):
        return []
    minors = range(int(glibc.partition(".")[2]), OLDEST_GLIBC - 1, -1)
    return [f"--platform=manylinux_2_{minor}_{wanted}" for minor in minors] + [f"--platform=manylinux2014_{wanted}"]


if __name__ == "__main__":
    print(*options(sys.argv[1] if sys.argv[1:] else "", platform.machine(), platform.libc_ver()[1]))
