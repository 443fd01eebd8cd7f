"""Print the logs of the pods of a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.objects import AGENT, CACHE, CONTROLLER, NAME_LABEL, WEBHOOK, selector

if TYPE_CHECKING:
    from argparse import Namespace

    from cli.session import Session

_OF_MIRROR: Final = {"cache": CACHE, "agent": AGENT, None: ""}
_OF_SYSTEM: Final = {"controller": CONTROLLER, "webhook": WEBHOOK}
# Containers that kubectl follows at a time: more than the largest cluster of Kubernetes has nodes.
_REQUESTS: Final = 10_000


def run(session: Session, options: Namespace) -> int:
    """Run `kubectl logs`; those of controller and webhook are of all mirrors."""
    session.mirror(options.name)
    arguments = [
        "logs",
        f"--namespace={session.namespace}",
        f"--selector={_selector(options.component, options.name)}",
        "--prefix",
        "--all-containers",
        f"--tail={options.tail}",
        f"--max-log-requests={_REQUESTS}",
        *(["--follow"] if options.follow else []),
        *(["--previous"] if options.previous else []),
        *([f"--since={options.since}"] if options.since else []),
    ]
    return 2 if session.kubectl.passed_through(*arguments) else 0


def _selector(component: str | None, mirror: str) -> str:
    if component in _OF_SYSTEM:
        return f"{NAME_LABEL}={_OF_SYSTEM[component]}"
    return selector(mirror, _OF_MIRROR[component])
