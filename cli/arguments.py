"""Define the command line. Flags of kubectl for context and login are passed on unchanged."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from cli.output import FORMATS, TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "kubectl registry-mirror"
# Flags of kubectl that need a value, and that are true without one.
VALUE_FLAGS: Final = (
    "--as",
    "--as-group",
    "--as-uid",
    "--as-user-extra",
    "--cache-dir",
    "--certificate-authority",
    "--client-certificate",
    "--client-key",
    "--cluster",
    "--context",
    "--kubeconfig",
    "--kuberc",
    "--password",
    "--request-timeout",
    "--server",
    "--tls-server-name",
    "--token",
    "--user",
    "--username",
    "--v",
)
SHORT_FLAGS: Final = {"-s": "--server", "-v": "--v"}
BARE_FLAGS: Final = ("--disable-compression", "--insecure-skip-tls-verify", "--warnings-as-errors")

NAME: Final = "NAME"
COMPONENTS: Final = ("cache", "agent", "controller", "webhook")

# Each command with its help. `program` finds the module of the same name.
COMMANDS: Final = {
    "status": "show all mirrors, or the conditions of one",
    "doctor": "find what is wrong, and say what to do",
    "nodes": "show how each node uses a mirror",
    "images": "show the images that the caches of a mirror have stored",
    "top": "show how much the caches serve and save",
    "logs": "print the logs of the pods of a mirror",
    "events": "show the Events of the mirrors and of their objects",
    "purge": "remove an image or a digest from all caches of a mirror",
    "drain": "delete all mirrors, and wait until the nodes are clean",
    "report": "write a support bundle without Secrets",
    "version": "show the versions of the plugin and of the installed programs",
}
# Commands whose first argument is the name of a mirror, and those that print items.
NAMED: Final = frozenset({"status", "nodes", "images", "top", "logs", "events", "purge"})
_OPTIONAL_NAME: Final = frozenset({"status", "top", "events"})
_LISTING: Final = frozenset({"status", "doctor", "nodes", "images", "top", "events", "purge", "version"})

_FLAG: Final = {"action": "store_true"}
_Argument = tuple[tuple[str, ...], dict[str, Any]]
_ARGUMENTS: Final[dict[str, tuple[_Argument, ...]]] = {
    "status": ((("-w", "--watch"), {**_FLAG, "help": "print a row for each change"}),),
    "top": ((("--repositories",), {**_FLAG, "help": "show requests by repository, if counted"}),),
    "logs": (
        (("--component",), {"choices": COMPONENTS, "help": "one kind of pods; the default is caches and agents"}),
        (("-f", "--follow"), {**_FLAG, "help": "print new lines until interrupted"}),
        (("-p", "--previous"), {**_FLAG, "help": "print the log of the former container"}),
        (("--since",), {"help": "age of the oldest line, for example 1h"}),
        (("--tail",), {"type": int, "default": 100, "help": "lines of each pod; -1 prints all (default: 100)"}),
    ),
    "events": ((("--warnings",), {**_FLAG, "help": "leave out Events of the type Normal"}),),
    "purge": ((("image",), {"metavar": "IMAGE|DIGEST", "help": "image name as in pods, or a digest"}),),
    "drain": (
        (("-y", "--yes"), {**_FLAG, "help": "do not ask"}),
        (("--timeout",), {"type": float, "default": 600.0, "help": "seconds to wait (default: 600)"}),
    ),
    "report": ((("-f", "--file"), {"help": "file to write (default: registry-mirror-report-TIME.tar.gz)"}),),
    "version": ((("--client",), {**_FLAG, "help": "do not ask the cluster"}),),
}


def split(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of a command line, and the flags for kubectl. Exits with 2 on a mistake."""
    flags, rest = kubectl_flags(arguments)
    options = _parser().parse_args(rest, flags)
    return options, [*flags.kubectl]


def flags_of(command: str) -> list[str]:
    """Return the long flags of a command."""
    if command not in COMMANDS:
        return []
    parser = argparse.ArgumentParser(add_help=False)
    _add_output(parser, command)
    _add_arguments(parser, command)
    return [each for action in parser._actions for each in action.option_strings if each.startswith("--")]  # noqa: SLF001


class _Passed(argparse.Action):
    """Collects a flag in the form in which kubectl takes it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 (the interface)
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,  # noqa: ARG002 (the interface)
    ) -> None:
        name = next(each for each in self.option_strings if each.startswith("--"))
        namespace.kubectl = [*namespace.kubectl, f"{name}={values}"]


def kubectl_flags(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags that kubectl gets, and the other words. A bare flag may have a value after an equals sign."""
    return _kubectl_parser().parse_known_args([f"{each}=true" if each in BARE_FLAGS else each for each in arguments])


def _kubectl_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=PROGRAM)
    parser.set_defaults(kubectl=[])
    shorts = {long: short for short, long in SHORT_FLAGS.items()}
    for name in (*VALUE_FLAGS, *BARE_FLAGS):
        parser.add_argument(name, *([shorts[name]] if name in shorts else []), action=_Passed, dest="kubectl")
    parser.add_argument("-n", "--namespace")
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Ask a cluster about its registry mirrors.",
        epilog="All commands take the flags of kubectl for context and login, for example --context and --kubeconfig."
        " -n names the namespace of the system; without it, the command finds it."
        " Exit status: 0 for success, 1 for findings, 2 if the cluster could not be asked.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        _add_output(command, name)
        _add_arguments(command, name)
    return parser


def _add_output(command: argparse.ArgumentParser, name: str) -> None:
    if name in _LISTING:
        command.add_argument("-o", "--output", choices=FORMATS, default=TABLE, dest="form", help="output format")


def _add_arguments(command: argparse.ArgumentParser, name: str) -> None:
    if name in NAMED:
        number = "?" if name in _OPTIONAL_NAME else None
        command.add_argument("name", metavar=NAME, nargs=number, help="name of a mirror")
    for names, options in _ARGUMENTS.get(name, ()):
        command.add_argument(*names, **options)
