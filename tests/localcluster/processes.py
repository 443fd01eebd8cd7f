"""Run processes that outlive this program. Each has a record and a log in the cluster's folder."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from tests.localcluster.errors import LocalClusterError

POLL = 0.02  # seconds
START_DEADLINE = 90.0  # seconds; usually 3, a minute on a machine that compiles
GRACE = 10.0  # seconds between SIGTERM and SIGKILL; the API server needs two
STATE, THREADS, STARTED = 0, 17, 19  # indexes of proc_pid_stat(5) fields from field 3 on
LAST_LINES = 15  # of the log, shown when a component does not start


@dataclass(frozen=True)
class Record:
    """The command line, process id and start time of a process; a process id alone may be reused."""

    argv: tuple[str, ...]
    pid: int
    started: int  # clock ticks between boot and its start


class Processes:
    """The processes of one cluster. `folder` is their working directory, with records in run/ and logs in logs/."""

    # Children of this program; the object that sees one end reaps it.
    _children: ClassVar[dict[int, subprocess.Popen[bytes]]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `argv` in its own session; append its output to the log of `name`."""
        for folder in ("run", "logs"):
            (self.folder / folder).mkdir(exist_ok=True)
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[child.pid] = child
        # A child that already ended is a zombie, so its start time is still readable.
        record = Record(tuple(argv), child.pid, int(_fields_of(child.pid)[STARTED]))
        temporary = self._path(name).with_suffix(".new")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.rename(self._path(name))

    def record(self, name: str) -> Record:
        """Return the record of `name`; raises LocalClusterError if it was never started."""
        try:
            found = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            raise LocalClusterError(f"{name} was never started in {self.folder}.") from None
        return Record(tuple(found["argv"]), found["pid"], found["started"])

    def names(self) -> list[str]:
        """Return the names of all started processes."""
        return sorted(path.stem for path in (self.folder / "run").glob("*.json"))

    def forget(self) -> None:
        """Delete the records of ended processes."""
        for name in self.names():
            self._path(name).unlink()

    def alive(self, name: str) -> bool:
        """Return True if the process started as `name` still runs."""
        record = self.record(name)
        running = _is_running(record)
        if not running and (child := self._children.pop(record.pid, None)):
            child.wait()  # reaps it
        return running

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process group of `name`, if it still runs."""
        if self.alive(name):
            try:
                os.killpg(self.record(name).pid, number)
            except ProcessLookupError:  # it ended meanwhile
                return

    def stop(self, names: Iterable[str], grace: float = GRACE) -> None:
        """Send SIGTERM to all, then SIGKILL to those that run after `grace` seconds; wait until they end."""
        names = list(names)
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, GRACE)):
            for name in names:
                self.kill(name, number)
            if self._wait_until_gone(names, patience):
                return
        left = ", ".join(f"{name} (process {self.record(name).pid})" for name in names if self.alive(name))
        raise LocalClusterError(f"SIGKILL does not end these: {left}.")

    def wait_ready(
        self, name: str, ready: Callable[[], bool], deadline: float = START_DEADLINE, pause: float = POLL
    ) -> None:
        """Poll until `ready` returns True.

        Raises LocalClusterError with the end of the log if the process ends or the deadline passes.
        """
        limit = time.monotonic() + deadline
        while not ready():
            if not self.alive(name):
                raise LocalClusterError(f"{name} ended while starting. {self.last_lines(name)}")
            if time.monotonic() > limit:
                raise LocalClusterError(f"{name} was not ready within {deadline:.0f} s. {self.last_lines(name)}")
            time.sleep(pause)

    def log(self, name: str) -> Path:
        """Return the log file of `name`."""
        return self.folder / "logs" / f"{name}.log"

    def last_lines(self, name: str) -> str:
        """Return the end of the log of `name`."""
        lines = self.log(name).read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join([f"The end of {self.log(name)}:", *(f"  {line}" for line in lines)])

    def _path(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.json"

    def _wait_until_gone(self, names: Sequence[str], seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while alive := any(self.alive(name) for name in names):
            if time.monotonic() > limit:
                break
            time.sleep(POLL)
        return not alive


def _is_running(record: Record) -> bool:
    fields = _fields_of(record.pid)
    if not fields or int(fields[STARTED]) != record.started:
        return False
    # A process whose first thread ended is a zombie, but keeps its port until all threads end.
    return fields[STATE] not in "ZX" or int(fields[THREADS]) > 1


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 if it does not exist."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _fields_of(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name in parentheses, from the third on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
