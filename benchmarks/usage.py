"""What a process has used, as the kernel counts it: CPU in seconds (to a hundredth), memory in MiB."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.localcluster.processes import Processes

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat, counted after the name in parentheses.
_USER, _SYSTEM, _STARTED = 11, 12, 19


@dataclass(frozen=True)
class Usage:
    """One program of a cluster's folder, by the name that it was started under."""

    processes: Processes
    name: str

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.processes.record(self.name).pid

    def cpu_seconds(self) -> float:
        """User and system time since its start."""
        fields = self._stat()
        return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS

    def age_seconds(self) -> float:
        """Time since its start."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(self._stat()[_STARTED]) / _TICKS

    def resident_mib(self) -> float:
        """Resident memory now."""
        return self._memory("VmRSS")

    def peak_mib(self) -> float:
        """The most that was ever resident."""
        return self._memory("VmHWM")

    def _stat(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def _memory(self, field: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))
