"""`python -m deploy.local demo`: the main job on a real API server, scene by scene, on a cluster of its own."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.cluster import Cluster
from deploy.local.errors import LocalClusterError
from deploy.local.paper import GREEN, RED, Paper
from deploy.local.processes import LAST_LINES
from deploy.local.scenes import SCENES
from deploy.local.stage import Stage, UnexpectedError
from deploy.local.system import System


def demo(_: Path) -> int:
    """Play all scenes; the exit status is 0 only if each went as expected. The cluster of `make up` is not touched."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is below nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)  # a closed terminal is tidied up after like Ctrl-C
    paper = Paper(sys.stdout)
    with _folder() as folder:
        cluster = Cluster(folder / "cluster")
        try:
            return _play(cluster, paper)
        except BrokenPipeError:  # who read has gone, as `head` does; what Python still holds has to go somewhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        finally:
            _undisturbed()
            cluster.remove()


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is gone afterwards: several demos can run side by side."""
    folder = Path(tempfile.mkdtemp(prefix="registry-mirror-demo-"))
    try:
        yield folder
    finally:
        _undisturbed()
        shutil.rmtree(folder, ignore_errors=True)


def _undisturbed() -> None:
    """Tidying up takes seconds and always ends; a second Ctrl-C would leave processes behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _play(cluster: Cluster, paper: Paper) -> int:
    system = System(cluster)
    begun, played = time.monotonic(), 0
    try:
        paper.title("Kubernetes is started on this machine, and webhook and controller beside it")
        cluster.start()
        # A first build takes minutes and tells so itself; it is not the demo's time.
        begun = time.monotonic() - sum(cluster.timings.values())
        stage = _ready(system, paper)
        for scene in SCENES:
            paper.title(f"{played + 1}. {scene.title}")
            scene.play(stage)
            played += 1
    except (UnexpectedError, LocalClusterError) as error:
        _explain(error, system, paper)
    return _verdict(paper, played, time.monotonic() - begun)


def _ready(system: System, paper: Paper) -> Stage:
    stage = Stage(system.cluster, paper)
    stage.run("kubectl version")
    system.install()
    system.start()
    stage.met("the manifests of deploy/ are applied, webhook and controller are ready")
    return stage


def _explain(error: Exception, system: System, paper: Paper) -> None:
    """Tell what was expected and, from the programs themselves, what they did meanwhile."""
    paper.note(f"NOT AS EXPECTED  {error}", RED)
    for name in ("webhook", "controller"):
        log = system.processes.log(name)
        if log.exists():
            lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            paper.title(f"The last lines of the {name}'s log")
            paper.quote("\n".join(lines))


def _verdict(paper: Paper, played: int, seconds: float) -> int:
    complete = played == len(SCENES)
    told = f"demo: {played} of {len(SCENES)} scenes as expected, in {seconds:.0f} s"
    if not complete:
        told += f"; number {played + 1} was not" if played else "; see above"
    paper.verdict(told, GREEN if complete else RED)
    return 0 if complete else 1
