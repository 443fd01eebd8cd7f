"""Show the Events of the mirrors and of their objects, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.kubectl import KubectlError
from cli.objects import EVENT_NAMESPACE, MIRRORS, PREFIX, age, at, name_of, seconds_since
from cli.output import Column, Listing

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from cli.kubectl import Json
    from cli.session import Session

KIND: Final = "RegistryMirror"
COLUMNS: Final = (
    Column("LAST", lambda item: item["age"]),
    Column("TYPE", lambda item: item["type"]),
    Column("OBJECT", lambda item: item["object"]),
    Column("REASON", lambda item: item["reason"]),
    Column("COUNT", lambda item: item["count"], wide=True),
    Column("MESSAGE", lambda item: item["message"]),
)


def run(session: Session, options: Namespace) -> int:
    """Print the Events of all mirrors, or of one."""
    if options.name is not None:
        session.mirror(options.name)
    items = events_of(session, options.name)
    if options.warnings:
        items = [each for each in items if each["type"] == "Warning"]
    session.print(Listing(COLUMNS, items, lambda item: f"event/{item['name']}"), "There are no Events.")
    return 0


def events_of(session: Session, mirror: str | None) -> list[Json]:
    """Return the Events of mirrors and of their objects, the oldest first. Raises KubectlError if all are refused."""
    found: list[Json] = []
    refused: list[KubectlError] = []
    of_mirrors = f"--namespace={EVENT_NAMESPACE}", f"--field-selector=involvedObject.kind={KIND}"
    for arguments in (of_mirrors, (f"--namespace={session.namespace}",)):
        try:
            found += session.kubectl.items("events", *arguments)
        except KubectlError as error:
            if refused or not error.is_forbidden:
                raise
            refused.append(error)
    for each in refused:
        session.hint(f"Some Events are missing. {each}")
    # A user may be allowed to read one mirror only. Then the other names are unknown.
    names = [] if mirror is None else [name_of(each) for each in session.kubectl.readable_items(MIRRORS)[0]]
    items = [
        summary(each, age(seconds_since(last_of(each), session.now))) for each in found if concerns(each, mirror, names)
    ]
    return sorted(items, key=lambda item: str(item["last"]))


def concerns(event: Json, mirror: str | None, names: Iterable[str] = ()) -> bool:
    """Return True if an Event is about a mirror or one of its objects; None stands for all mirrors.

    `names` are those of the existing mirrors. An object belongs to the longest of them that its name starts with.
    """
    kind, name = at(event, "involvedObject", "kind", default=""), at(event, "involvedObject", "name", default="")
    if kind == KIND:
        return mirror in (None, name)
    # Claims have the name of their pod after that of the claim template.
    _, prefix, rest = f"-{name}".partition(f"-{PREFIX}")
    if mirror is None or not prefix:
        return bool(prefix)
    matching = (each for each in {*names, mirror} if f"{rest}-".startswith(f"{each}-"))
    return max(matching, key=len, default=None) == mirror


def last_of(event: Json) -> str:
    """Return the time of the last occurrence."""
    series, metadata = at(event, "series", "lastObservedTime"), at(event, "metadata", "creationTimestamp")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or metadata or "")


def summary(event: Json, age_text: str) -> Json:
    """Return what the plugin shows of an Event."""
    involved = event.get("involvedObject", {})
    return {
        "name": at(event, "metadata", "name", default=""),
        "last": last_of(event),
        "age": age_text,
        "type": event.get("type", ""),
        "object": f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}",
        "reason": event.get("reason", ""),
        "count": at(event, "series", "count") or event.get("count") or 1,
        "message": event.get("message", ""),
    }
