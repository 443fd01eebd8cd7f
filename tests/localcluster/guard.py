"""Stop a cluster whose program was killed, so that crashed tests leave no processes.

Runs as its own process: `python -m tests.localcluster.guard <folder>`. Its standard input is a pipe from the program
that started the cluster. The pipe closes when that program ends. A line on it dismisses the guard.
"""

import signal
import subprocess
import sys
from pathlib import Path

from tests.localcluster.node import cleanup
from tests.localcluster.processes import Processes

REPOSITORY = Path(__file__).parents[2]


class Guard:
    """The guard of the cluster in `folder`, for the guarded program."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)], cwd=REPOSITORY, stdin=subprocess.PIPE, start_new_session=True
        )

    def dismiss(self) -> None:
        """Dismiss the guard: the cluster stopped or continues without this program."""
        self._process.communicate(b"stay\n")


def main(folder: Path) -> None:
    """Wait until the program at the other end of the pipe ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a signal to the process group must not end the guard
    if sys.stdin.readline():
        return
    processes = Processes(folder)
    for name in processes.names():
        processes.kill(name)
    cleanup.remove(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
