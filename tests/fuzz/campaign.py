"""Run a fuzz target in its own process and summarize the result."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TARGETS = ("review", "mirror", "hosts_file", "hosts_toml", "runtime_config", "registries_conf", "agent_settings")
# Bytes of an input: longer than any seed, short enough for thousands of runs per second. Unit tests cover long input.
LONGEST = 4096
SLOW = 10  # seconds for one input on a busy machine; usual inputs take less than 0.1
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """Result of one target. `finding` is the printed error, or empty."""

    target: str
    executions: int
    covered: int
    finding: str

    def __str__(self) -> str:
        """Return a line of a table."""
        result = "FINDING" if self.finding else "no finding"
        return f"{self.target:<16} {self.executions:>10} executions {self.covered:>6} branches  {result}"


def fuzz(target: str, seconds: int, folder: Path) -> Outcome:
    """Fuzz a target for `seconds`. The folder keeps the corpus and any failing input."""
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


def _tail(output: str) -> str:
    """Return the output from the exception on, without libFuzzer's progress."""
    at = output.find("=== Uncaught Python exception")
    return output[-6000:] if at < 0 else output[at:][:6000]
