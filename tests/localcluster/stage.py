"""A terminal that is watched: types commands, shows what they print, and checks what comes of them."""

import os
import shlex
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tests.localcluster.cluster import Cluster
from tests.localcluster.paper import GREEN, INDENT, Paper

REPOSITORY = Path(__file__).parents[2]
POLL = 0.05  # seconds between two looks: less than kubectl itself takes
DEADLINE = 30.0  # seconds; everything shown takes one or two, a busy machine several times that
# Seconds, where pods run: a new one is ready after five to ten, two that are replaced one by one after twenty; a busy
# machine takes several times that.
DEADLINE_OF_PODS = 180.0
PROMPT = "$ "


class UnexpectedError(Exception):
    """A check that was not met: what was expected, and what was there."""


class Stage:
    """Where the scenes of the demo are played: a cluster, and the paper that a person reads.

    `deadline` is for each command, and for what is to come of it.
    """

    def __init__(self, cluster: Cluster, paper: Paper, deadline: float = DEADLINE) -> None:
        self._cluster = cluster
        self.paper = paper
        self._deadline = deadline
        self._typed = time.monotonic()
        # so that what is shown after `$` is what is run, and works if it is copied after `export KUBECONFIG=...`
        path = f"{cluster.kubectl.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._environment = {**cluster.client_environment, "PATH": path}

    def run(self, command: str) -> str:
        """Type a command; return what it printed, which is shown."""
        return self.run_by(self._shell, command)

    def run_by(self, shell: Callable[[str], str], command: str, prompt: str = PROMPT) -> str:
        """Type a command where `shell` runs it; return what it printed, which is shown."""
        self.paper.command(command, prompt)
        self._typed = time.monotonic()
        said = shell(command)
        if said:
            self.paper.note(said.rstrip("\n"))
        return said

    def expect(self, what: str, found: object, expected: object) -> None:
        """Check something that is so by now."""
        if found != expected:
            raise UnexpectedError(_told(what, expected=expected, found=found))
        self.met(what)

    def until(self, what: str, question: str, expected: str) -> None:
        """Ask a kubectl command again and again, unseen, until it prints what is expected."""
        limit = time.monotonic() + self._deadline
        while (found := self._ask(question)) != expected:
            if time.monotonic() > limit:
                told = _told(
                    f"{what}, within {self._deadline:.0f} s",
                    asked=f"kubectl {question}",
                    expected=expected,
                    found=found,
                )
                raise UnexpectedError(told)
            time.sleep(POLL)
        self.met(what)

    def met(self, what: str) -> None:
        """Tell that something is as expected, and how long after the last command."""
        self.paper.note(f"ok  {what} ({time.monotonic() - self._typed:.1f} s)", GREEN)

    def _ask(self, question: str) -> str:
        answer = self._cluster.run_kubectl(*shlex.split(question), check=False)
        return (answer.stdout or answer.stderr).strip()

    def _shell(self, command: str) -> str:
        """Run a command as a shell does, in a session of its own: what it started ends with us, a pipe included."""
        with subprocess.Popen(
            ["sh", "-c", command],
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        ) as shell:
            try:
                return shell.communicate(timeout=self._deadline)[0]
            except subprocess.TimeoutExpired:
                raise UnexpectedError(_told(f"an answer within {self._deadline:.0f} s", asked=command)) from None
            finally:
                if shell.poll() is None:
                    os.killpg(shell.pid, signal.SIGKILL)


def _told(what: str, **parts: object) -> str:
    """What was to be, and below it each part under its name."""
    return "\n".join([what, *(f"{name}:\n{textwrap.indent(str(part), INDENT)}" for name, part in parts.items())])
