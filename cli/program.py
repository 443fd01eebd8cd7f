"""Run one command and turn its result into an exit status."""

from __future__ import annotations

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
    try:
        if PurePath(argv[0]).name.startswith(complete.PREFIX):
            return complete.run(argv[1:], sys.stdout)
        return _run(argv[1:])
    except KubectlError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_ASKED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, for example `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS


def _run(given: Sequence[str]) -> int:
    options, flags = arguments.split(given)
    form = getattr(options, "form", "table")
    session = Session(Kubectl(tuple(flags)), sys.stdout, sys.stderr, form, options.namespace)
    status: int = import_module(f"cli.commands.{options.command}").run(session, options)
    sys.stdout.flush()
    return status
