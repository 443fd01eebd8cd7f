"""Provide the command line of the local cluster: `python -m tests.localcluster`."""

import argparse
import os
import pkgutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.localcluster.errors import LocalClusterError
from tests.localcluster.families import CHOICES, SINGLE
from tests.localcluster.node.runtime import FLAVOURS

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
FOLDER_VARIABLE = "LOCAL_CLUSTER"
INTERRUPTED = 130  # exit status of a program that SIGINT ended

# Each command takes the cluster's folder and returns the exit status. It is imported when it is called.
COMMANDS = {
    "up": ("cli:up", "start the cluster; the output ends with the commands to type next"),
    "down": ("cli:down", "stop the cluster and remove its files"),
    "status": ("cli:status", "list the running components with their memory"),
    "build": ("cli:build", "build the components; `up` does it if needed"),
    "helm": ("cli:helm", "print the path of helm, which is built if needed"),
    "demo": ("demo:demo", "show the system step by step on a temporary cluster"),
    "check-node": (
        "cli:check_node",
        "print why this machine cannot run a node; the exit status is 0 if it can",
    ),
}


def main(arguments: list[str]) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    # A shell ignores SIGINT in background processes, but the cleanup needs it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run: Callable[..., int] = pkgutil.resolve_name(f"tests.localcluster.{COMMANDS[options.command][0]}")
    try:
        return run(options.folder, **_further(options))
    except LocalClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.localcluster",
        description="A real Kubernetes control plane on this machine.",
        epilog=f"The state is in the folder {FOLDER_VARIABLE}, by default .local-cluster/.",
    )
    parser.set_defaults(folder=Path(os.environ.get(FOLDER_VARIABLE) or REPOSITORY / ".local-cluster"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, help_text) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text)
        if name == "up":
            _add_node(command)
        if name == "build":
            command.add_argument("--cert-manager", action="store_true", help="build cert-manager too")
        if name == "demo":
            command.add_argument("--no-node", action="store_true", help="run no node and no pods")
    return parser


def _further(options: argparse.Namespace) -> dict[str, Any]:
    """Return the further arguments of a command."""
    if options.command == "up":
        return {"flavour": options.node, "families": CHOICES[options.family], "system": options.system}
    if options.command == "build":
        return {"cert_manager": options.cert_manager}
    return {"node": not options.no_node} if options.command == "demo" else {}


def _add_node(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--node",
        nargs="?",
        const=FLAVOURS[0],
        choices=FLAVOURS,
        help=f"run a node, which needs root on Linux; the default container runtime is {FLAVOURS[0]}",
    )
    default = ",".join(SINGLE.order)
    choices = f"{', '.join(CHOICES)}; default: {default}"
    command.add_argument(
        "--family", choices=CHOICES, default=default, metavar="FAMILIES", help=f"the primary one first: {choices}"
    )
    command.add_argument(
        "--system", action="store_true", help="run a node with the whole system, an upstream and Prometheus, to try it"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
