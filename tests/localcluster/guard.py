"""Ends a cluster whose program was killed, so that tests that crash leave no processes behind.

Runs as a process of its own: `python -m tests.localcluster.guard <folder>`. Its standard input is a pipe from the
program that started the cluster, and ends with it, however that happens. One line on it means: the cluster shall stay.
"""

import signal
import subprocess
import sys
from pathlib import Path

from tests.localcluster.node import cleanup
from tests.localcluster.processes import Processes

REPOSITORY = Path(__file__).parents[2]


class Guard:
    """The guard of the cluster in `folder`, from the side of the program that is guarded."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)], cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True
        )

    def dismiss(self) -> None:
        """Let the cluster be: it was stopped, or shall go on without us."""
        self._process.communicate(b"stay\n")


def main(folder: Path) -> None:
    """Wait for the end of the program at the other end of the pipe."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever ends a whole group of processes must not end us first
    if sys.stdin.readline():
        return
    processes = Processes(folder)
    for name in processes.names():
        processes.kill(name)
    cleanup.remove(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
