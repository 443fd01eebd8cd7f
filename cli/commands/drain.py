"""Delete all mirrors, and wait until the controller has cleaned the nodes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from cli.commands.events import KIND
from cli.kubectl import KubectlError
from cli.objects import CONTROLLER, EVENT_NAMESPACE, MIRRORS, at, condition, name_of

if TYPE_CHECKING:
    from argparse import Namespace

    from cli.kubectl import Json
    from cli.session import Session

INCOMPLETE: Final = 1
# Seconds between two looks at the mirrors that are left.
_INTERVAL: Final = 2.0
_NOT_CLEANED: Final = "NodesNotCleaned"
_YES: Final = frozenset({"y", "yes"})


def run(session: Session, options: Namespace) -> int:
    """Delete all mirrors and report what is left. Return 1 if a mirror or files on a node stay."""
    mirrors = session.mirrors()
    if not mirrors:
        session.hint("There are no mirrors.")
        return 0
    if not options.yes and not _is_confirmed(mirrors):
        raise KubectlError("Nothing was deleted. Confirm with --yes.")
    session.kubectl.text("delete", MIRRORS, *map(name_of, mirrors), "--wait=false", "--ignore-not-found")
    left = _until_gone(session, {name_of(each): str(at(each, "metadata", "uid")) for each in mirrors}, options.timeout)
    for mirror in mirrors:
        if name_of(mirror) not in left:
            session.out.write(f"registrymirror.k8s.osp.tech/{name_of(mirror)} deleted\n")
    notes = _not_cleaned(session, mirrors)
    for note in notes:
        session.hint(note)
    for mirror in left.values():
        session.hint(_explained(session, mirror))
    return INCOMPLETE if left or notes else 0


def _is_confirmed(mirrors: list[Json]) -> bool:
    if not sys.stdin.isatty():
        return False
    names = ", ".join(map(name_of, mirrors))
    sys.stderr.write(f"Delete the mirrors {names}, and all that their volumes hold? [y/N] ")
    return sys.stdin.readline().strip().lower() in _YES


def _until_gone(session: Session, uids: dict[str, str], seconds: float) -> dict[str, Json]:
    """Wait until the mirrors are gone; return those that stay."""
    deadline = time.monotonic() + seconds
    shown = ""
    while True:
        found = {name_of(each): each for each in session.mirrors() if at(each, "metadata", "uid") in uids.values()}
        if not found or time.monotonic() > deadline:
            return found
        waiting = f"Waiting for {', '.join(sorted(found))}."
        if waiting != shown:
            session.hint(waiting)
            shown = waiting
        time.sleep(_INTERVAL)


def _not_cleaned(session: Session, mirrors: list[Json]) -> list[str]:
    """Return what Events say about nodes that could not be cleaned, or that the user may not read them."""
    selector = f"--field-selector=involvedObject.kind={KIND},reason={_NOT_CLEANED}"
    found, refusal = session.kubectl.readable_items("events", f"--namespace={EVENT_NAMESPACE}", selector)
    uids = {at(each, "metadata", "uid") for each in mirrors}
    notes = [
        f"{at(each, 'involvedObject', 'name')}: {each.get('message', '')}"
        for each in found
        if at(each, "involvedObject", "uid") in uids
    ]
    return [*notes, f"It is not known whether all nodes are clean. {refusal}"] if refusal else notes


def _explained(session: Session, mirror: Json) -> str:
    message = condition(mirror, "NodesConfigured").get("message", "")
    name = name_of(mirror)
    return (
        f"{name} waits for its finalizer. {message} If no controller runs, start it: kubectl scale deployment"
        f" {CONTROLLER} -n {session.namespace} --replicas=2. If it is gone for good, remove the finalizer:"
        f' kubectl patch rm {name} --type=merge -p \'{{"metadata":{{"finalizers":null}}}}\''
    )
