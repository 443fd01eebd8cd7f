"""Show the main job scene by scene, on a cluster of its own: `python -m tests.localcluster demo`."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.grounds import PROGRAMS, Beside, Ground, OnNode
from tests.localcluster.node.able import why_not
from tests.localcluster.paper import GREEN, RED, Paper
from tests.localcluster.stage import UnexpectedError


def demo(_: Path, *, node: bool = True) -> int:
    """Play all scenes; the exit status is 0 only if each went as expected. The cluster of `make up` is not touched.

    With `node` they are played on a node where this machine can run one, else without, which is told with the reason.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is below nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)  # a closed terminal is tidied up after like Ctrl-C
    paper = Paper(sys.stdout)
    with _folder() as folder:
        cluster = Cluster(folder / "cluster")
        try:
            return _play(_ground(cluster, paper, node=node), paper)
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


def _ground(cluster: Cluster, paper: Paper, *, node: bool) -> Ground:
    reason = why_not() if node else "It was asked for without a node."
    if reason is None:
        return OnNode(cluster)
    paper.note(reason)
    paper.note("So this is the demo without pods: nothing is pulled in it.")
    return Beside(cluster)


def _play(ground: Ground, paper: Paper) -> int:
    begun, played = time.monotonic(), 0
    try:
        paper.title(ground.title)
        ground.build()
        begun = time.monotonic()  # a first build takes minutes, which are not the demo's
        stage = ground.start(paper)
        for scene in ground.scenes:
            paper.title(f"{played + 1}. {scene.title}")
            scene.play(stage)
            played += 1
    except (UnexpectedError, LocalClusterError) as error:
        _explain(error, ground, paper)
    return _verdict(paper, played, len(ground.scenes), time.monotonic() - begun)


def _explain(error: Exception, ground: Ground, paper: Paper) -> None:
    """Tell what was expected and, from the programs themselves, what they did meanwhile."""
    paper.note(f"NOT AS EXPECTED  {error}", RED)
    for name in PROGRAMS:
        with suppress(LocalClusterError):  # of a cluster that did not even start
            if said := ground.last_words(name):
                paper.title(f"The last lines of the {name}'s log")
                paper.quote(said)


def _verdict(paper: Paper, played: int, scenes: int, seconds: float) -> int:
    complete = played == scenes
    told = f"demo: {played} of {scenes} scenes as expected, in {seconds:.0f} s"
    if not complete:
        told += f"; number {played + 1} was not" if played else "; see above"
    paper.verdict(told, GREEN if complete else RED)
    return 0 if complete else 1
