"""Show the system step by step on a temporary cluster: `python -m tests.localcluster demo`."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.localcluster.cluster import Cluster
from tests.localcluster.demo_environment import PROGRAMS, DemoEnvironment, WithNode, WithoutNode
from tests.localcluster.demo_shell import UnexpectedError
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.node.requirements import unmet_requirement
from tests.localcluster.output import GREEN, RED, Output


def demo(_: Path, *, node: bool = True) -> int:
    """Run all steps and return 0 if each had the expected result.

    With `node` the steps run on a node. If this machine cannot run one, the demo prints why and runs without.
    """
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    output = Output(sys.stdout)
    with _temporary_folder() as folder:
        cluster = Cluster(folder / "cluster")
        try:
            return _run_steps(_environment(cluster, output, node=node), output)
        finally:
            _ignore_signals()
            cluster.remove()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Create a folder for one demo and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="registry-mirror-demo-"))
    try:
        yield folder
    finally:
        _ignore_signals()
        shutil.rmtree(folder, ignore_errors=True)


def _ignore_signals() -> None:
    """Ignore further signals: a second Ctrl-C during the cleanup would leave processes behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _environment(cluster: Cluster, output: Output, *, node: bool) -> DemoEnvironment:
    reason = unmet_requirement() if node else "The node was left out, as NODE=0 asks."
    if reason is None:
        return WithNode(cluster)
    output.note(reason)
    output.note("The demo runs without pods and without pulls.")
    return WithoutNode(cluster)


def _run_steps(environment: DemoEnvironment, output: Output) -> int:
    begun, done = time.monotonic(), 0
    try:
        output.title(environment.title)
        environment.build()
        begun = time.monotonic()  # without the minutes of a first build
        shell = environment.start(output)
        for step in environment.steps:
            output.title(f"{done + 1}. {step.title}")
            step.run(shell)
            done += 1
    except (UnexpectedError, LocalClusterError) as error:
        _report_failure(error, environment, output)
    return _result(output, done, len(environment.steps), time.monotonic() - begun)


def _report_failure(error: Exception, environment: DemoEnvironment, output: Output) -> None:
    """Print the error and the last log lines of the programs."""
    output.note(f"FAILED  {error}", RED)
    for name in PROGRAMS:
        with suppress(LocalClusterError):  # the cluster did not start
            if printed := environment.last_lines(name):
                output.title(f"The last lines of the {name}'s log")
                output.quote(printed)


def _result(output: Output, done: int, steps: int, seconds: float) -> int:
    complete = done == steps
    message = f"demo: {done} of {steps} steps succeeded in {seconds:.0f} s"
    if not complete:
        message += f"; step {done + 1} failed" if done else "; see above"
    output.result(message, GREEN if complete else RED)
    return 0 if complete else 1
