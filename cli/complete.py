"""Complete the command line for kubectl, which calls the file `kubectl_complete-registry_mirror`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from cli import arguments
from cli.kubectl import Kubectl, KubectlError
from cli.objects import MIRRORS, name_of
from cli.output import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "kubectl_complete-"
# ShellCompDirectiveNoFileComp of cobra: offer no file names.
_NO_FILES: Final = 4
# Seconds. A shell waits for the answer.
_PATIENCE: Final = "--request-timeout=2s"


def run(given: Sequence[str], out: TextIO) -> int:
    """Print the candidates for the last word, one a line, then the directive."""
    words = list(given) or [""]
    out.writelines(f"{each}\n" for each in candidates(words) if each.startswith(words[-1]))
    out.write(f":{_NO_FILES}\n")
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """Return what can stand in place of the last word."""
    *before, last = words
    if before and before[-1] in ("-o", "--output"):
        return list(FORMATS)
    if before and before[-1] == "--component":
        return list(arguments.COMPONENTS)
    options, flags = _known(before)
    if not options:
        return [f"{name}\t{text}" for name, text in arguments.COMMANDS.items()]
    if last.startswith("-"):
        return arguments.flags_of(options[0])
    if options[0] in arguments.NAMED and len(options) == 1:
        return _mirrors(flags)
    return []


def _known(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that are no flags, and the flags for kubectl."""
    parsed, rest = arguments.kubectl_flags(words)
    return [each for each in rest if not each.startswith("-")], parsed.kubectl


def _mirrors(flags: Sequence[str]) -> list[str]:
    try:
        return [name_of(each) for each in Kubectl((_PATIENCE, *flags)).items(MIRRORS)]
    except KubectlError:
        return []
