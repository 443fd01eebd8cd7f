"""Run commands for the demo, print them with their output, and check the results."""

import os
import shlex
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tests.localcluster.cluster import Cluster
from tests.localcluster.output import GREEN, INDENT, Output

REPOSITORY = Path(__file__).parents[2]
POLL = 0.05  # seconds
DEADLINE = 30.0  # seconds; a step takes one or two, and several times that on a busy machine
# Seconds for steps with pods: a new pod is ready after ten, two that are replaced in turn after twenty. A busy machine
# takes several times that.
DEADLINE_OF_PODS = 180.0
PROMPT = "$ "


class UnexpectedError(Exception):
    """A check failed; the message has what was expected and what was found."""


class DemoShell:
    """A shell with kubectl for one cluster. `deadline` in seconds limits each command and each wait."""

    def __init__(self, cluster: Cluster, output: Output, deadline: float = DEADLINE) -> None:
        self._cluster = cluster
        self.output = output
        self._deadline = deadline
        self._started = time.monotonic()
        self._environment = cluster.shell_environment

    def run(self, command: str) -> str:
        """Run a command and print it with its output; return the output."""
        return self.run_by(self._shell, command)

    def run_by(self, shell: Callable[[str], str], command: str, prompt: str = PROMPT) -> str:
        """Run a command by `shell` and print it with its output; return the output."""
        self.output.command(command, prompt)
        self._started = time.monotonic()
        printed = shell(command)
        if printed:
            self.output.note(printed.rstrip("\n"))
        return printed

    def expect(self, what: str, found: object, expected: object) -> None:
        """Raise UnexpectedError if `found` is not `expected`."""
        if found != expected:
            raise UnexpectedError(_message(what, expected=expected, found=found))
        self.met(what)

    def until(self, what: str, question: str, expected: str) -> None:
        """Repeat a kubectl command until it prints `expected`; raise UnexpectedError at the deadline."""
        limit = time.monotonic() + self._deadline
        while (found := self._ask(question)) != expected:
            if time.monotonic() > limit:
                message = _message(
                    f"{what}, within {self._deadline:.0f} s",
                    asked=f"kubectl {question}",
                    expected=expected,
                    found=found,
                )
                raise UnexpectedError(message)
            time.sleep(POLL)
        self.met(what)

    def met(self, what: str) -> None:
        """Print a result that was met, with the seconds since the last command."""
        self.output.note(f"ok  {what} ({time.monotonic() - self._started:.1f} s)", GREEN)

    def _ask(self, question: str) -> str:
        answer = self._cluster.run_kubectl(*shlex.split(question), check=False)
        return (answer.stdout or answer.stderr).strip()

    def _shell(self, command: str) -> str:
        """Run a command in its own session, so that all its processes can be ended."""
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
                raise UnexpectedError(_message(f"an answer within {self._deadline:.0f} s", asked=command)) from None
            finally:
                if shell.poll() is None:
                    os.killpg(shell.pid, signal.SIGKILL)


def _message(what: str, **parts: object) -> str:
    """Return `what` and below it each part under its name."""
    return "\n".join([what, *(f"{name}:\n{textwrap.indent(str(part), INDENT)}" for name, part in parts.items())])
