"""Read the CPU time (in seconds, to a hundredth) and memory (in MiB) of processes from the kernel."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.localcluster.processes import Processes

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Indices in /proc/<pid>/stat after the name in parentheses.
_USER, _SYSTEM, _STARTED = 11, 12, 19


@dataclass(frozen=True)
class Usage:
    """Resource usage of one program of a cluster."""

    processes: Processes
    name: str

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.processes.record(self.name).pid

    def cpu_seconds(self) -> float:
        """Return user and system time since the start."""
        return cpu_seconds(self.pid)

    def age_seconds(self) -> float:
        """Return the time since the start."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(_stat(self.pid)[_STARTED]) / _TICKS

    def resident_mib(self) -> float:
        """Return the resident memory."""
        return resident_mib(self.pid)

    def peak_mib(self) -> float:
        """Return the peak of the resident memory."""
        return peak_mib(self.pid)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process since its start."""
    fields = _stat(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return _memory(pid, "VmRSS")


def peak_mib(pid: int) -> float:
    """Return the peak of the resident memory of a process."""
    return _memory(pid, "VmHWM")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _memory(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))
