"""Find what is wrong, and say what to do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from cli.doctor import installation, mirrors, nodes, pods, snapshot, storage
from cli.doctor.finding import SEVERITIES
from cli.objects import MIRRORS
from cli.output import TABLE, Column, Listing

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from cli.doctor.finding import Finding
    from cli.doctor.snapshot import Snapshot
    from cli.session import Session

CHECKS: Final = (installation.check, mirrors.check, pods.check, storage.check, nodes.check)
COLUMNS: Final = (
    Column("SEVERITY", lambda item: item["severity"]),
    Column("REASON", lambda item: item["reason"]),
    Column("OBJECT", lambda item: item["object"]),
    Column("MESSAGE", lambda item: item["message"]),
    Column("ACTION", lambda item: item["action"]),
)
FINDINGS, NOT_ASKED = 1, 2
_WIDTH: Final = 110  # characters of a line of text


def run(session: Session, _: Namespace) -> int:
    """Print the findings. Return 1 if there is one, and 2 if the user may not list the mirrors."""
    return reported(session, snapshot.take(session))


def reported(session: Session, taken: Snapshot) -> int:
    """Print the findings of a snapshot, and return the exit status."""
    found, unread = findings(taken), sorted(taken.unread)
    if session.form == TABLE:
        session.out.write(as_text(found))
    else:
        items = [each.as_json() for each in found]
        fields = {"notChecked": unread}
        session.print(Listing(COLUMNS, items, lambda item: f"{item['object']}:{item['reason']}", fields=fields))
    if unread:
        session.hint(f"Not checked, because you may not list it: {', '.join(unread)}.")
    if MIRRORS.partition(".")[0] in unread:
        return NOT_ASKED
    if not found:
        session.hint(f"No findings{' in the rest' if unread else ''}. {_counted(taken)}")
    return FINDINGS if found else 0


def findings(taken: Snapshot) -> list[Finding]:
    """Return what all checks find, the errors first, each finding once."""
    found = dict.fromkeys(finding for check in CHECKS for finding in check(taken))
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def as_text(found: Iterable[Finding]) -> str:
    """Return the findings as paragraphs."""
    return "\n".join(
        f"{each.severity.upper():<7} {each.object}  {each.reason}\n"
        + _indented(each.message)
        + _indented(f"-> {each.action}")
        for each in found
    )


def _indented(text: str) -> str:
    """Return a text in lines that are indented. A command stays in one piece, so that it can be copied."""
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"  {line}\n" for line in lines or [""])


def _counted(taken: Snapshot) -> str:
    number = len(taken.mirrors)
    return f"{number} mirror{'s are' if number != 1 else ' is'} fine." if number else "There are no mirrors."
