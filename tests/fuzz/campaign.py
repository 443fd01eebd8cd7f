"""Runs a target in a process of its own, for some seconds, and says what came of it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TARGETS = ("review", "mirror", "hosts_file", "hosts_toml", "runtime_config", "agent_settings")
# Bytes of an input: longer than any seed, short enough for thousands of runs a second. Long and deep input has tests of
# its own.
LONGEST = 4096
SLOW = 10  # seconds for one input, on a machine that does other things too: nothing here takes a tenth of one
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """What one target did. `finding` is what went wrong, as it was printed; empty where nothing did."""

    target: str
    executions: int
    covered: int
    finding: str

    def __str__(self) -> str:
        """A line of a table."""
        said = "a finding" if self.finding else "no finding"
        return f"{self.target:<16} {self.executions:>10} executions {self.covered:>6} branches  {said}"


def fuzz(target: str, seconds: int, folder: Path) -> Outcome:
    """Fuzzes a target for so long. The corpus, and an input that failed, are left in the folder."""
    corpus = folder / target
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOW}",
        f"-dict={HERE / 'words.dict'}",
        f"-artifact_prefix={folder}/{target}-",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz.run", target, *options, str(corpus), str(HERE / "seeds" / target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    executed, covered = _EXECUTED.findall(done.stderr), _COVERED.findall(done.stderr)
    finding = "" if done.returncode == 0 else _tail(done.stdout + done.stderr)
    return Outcome(target, int(executed[-1]) if executed else 0, int(covered[-1]) if covered else 0, finding)


def _tail(said: str) -> str:
    """From the exception on, without libFuzzer's own chatter before it."""
    at = said.find("=== Uncaught Python exception")
    return said[max(at, 0) :][-6000:] if at < 0 else said[at:][:6000]
