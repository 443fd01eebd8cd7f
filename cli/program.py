"""Run one command and turn its result into an exit status."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from cli import arguments, complete
from cli.kubectl import Kubectl, KubectlError
from cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS, FINDINGS, NOT_ASKED = 0, 1, 2
INTERRUPTED: Final = 130


def main(argv: Sequence[str]) -> int:
    """Run the plugin and return its exit status. kubectl calls a file of another name for completion."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # an ASCII terminal still shows the rest of a message
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # Python would print a closed pipe as a traceback, also after --help
    except KubectlError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_ASKED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, for example `head`, has ended
        _discard_output()
        return SUCCESS
    except OSError as error:  # the disk of a file that gets the output is full
        _discard_output()
        sys.stderr.write(f"Cannot write the output: {error.strerror}.\n")
        return NOT_ASKED


def _discard_output() -> None:
    """Send the rest of the output to the null device, because Python writes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str]) -> int:
    if PurePath(argv[0]).name.startswith(complete.PREFIX):
        return complete.run(argv[1:], sys.stdout)
    options, flags = arguments.split(argv[1:])
    form = getattr(options, "form", "table")
    session = Session(Kubectl(tuple(flags)), sys.stdout, sys.stderr, form, options.namespace)
    status: int = import_module(f"cli.commands.{options.command}").run(session, options)
    return status
