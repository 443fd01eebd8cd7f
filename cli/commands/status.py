"""Show all mirrors, or the conditions of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cli.objects import MIRRORS, age, age_of, at, condition, current_time, name_of, seconds_since
from cli.output import JSON, NAME, WIDE, YAML, Column, Listing, as_json, as_yaml, rendered, table

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from cli.kubectl import Json
    from cli.session import Session

# Characters that the columns of a watch have at least, because later rows may be longer.
_WATCH_WIDTHS: Final = (16, 32, 7, 20, 5, 5)
_READY: Final = "Ready"
_DELETING: Final = "Deleting"
_NOT_PROCESSED: Final = "NotProcessed"

COLUMNS: Final = (
    Column("NAME", lambda item: item["name"]),
    Column("UPSTREAM", lambda item: item["upstream"]),
    Column("READY", lambda item: item["ready"]),
    Column("REASON", lambda item: item["reason"]),
    Column("CACHE", lambda item: f"{item['cache']['ready']}/{item['cache']['desired']}"),
    Column("NODES", lambda item: f"{item['nodes']['ready']}/{item['nodes']['desired']}"),
    Column("AGE", lambda item: item["age"]),
    Column("PULLING", lambda item: item["nodes"].get("pulling", ""), wide=True),
    Column("MASQUERADE", lambda item: item["masqueradeUrl"], wide=True),
    Column("STORAGE", lambda item: item["storage"], wide=True),
    Column("TTL", lambda item: item["ttl"], wide=True),
    Column("MESSAGE", lambda item: item["message"], wide=True),
)


def run(session: Session, options: Namespace) -> int:
    """Print the mirrors; with a name, its conditions too."""
    if options.watch:
        return _watch(session, options.name)
    items = [summary(each, session.now) for each in session.mirrors(options.name)]
    listing = Listing(COLUMNS, items, _resource, single=options.name is not None)
    session.print(
        listing, "There are no mirrors. Create a RegistryMirror with the host of a registry in spec.upstreamUrl."
    )
    if options.name is not None and session.form not in (JSON, YAML, NAME):
        session.out.write(f"\n{_conditions(items[0], session.now)}")
    return 0


def summary(mirror: Json, now: datetime) -> Json:
    """Return what the plugin shows of a mirror."""
    status = at(mirror, "status", default={})
    ready = condition(mirror, _READY)
    is_current = status.get("observedGeneration") == at(mirror, "metadata", "generation")
    is_deleted = at(mirror, "metadata", "deletionTimestamp") is not None
    return {
        "name": name_of(mirror),
        "upstream": status.get("upstream") or at(mirror, "spec", "upstreamUrl", default=""),
        "masqueradeUrl": status.get("masqueradeUrl") or at(mirror, "spec", "masqueradeUrl", default=""),
        "ready": ready.get("status", "Unknown") if is_current else "Unknown",
        "reason": _DELETING if is_deleted else ready.get("reason", "") if is_current else _NOT_PROCESSED,
        "message": ready.get("message", "") if is_current else "The controller has not processed the latest spec.",
        "cache": {
            "ready": status.get("readyReplicas", 0),
            "desired": at(mirror, "spec", "replicas", default=status.get("replicas", 0)),
        },
        "nodes": {"ready": 0, "desired": 0, **status.get("nodes", {})},
        "storage": str(status.get("storage", "")),
        "ttl": at(mirror, "spec", "ttl", default=""),
        "age": age_of(mirror, now),
        "created": at(mirror, "metadata", "creationTimestamp", default=""),
        "conditions": status.get("conditions", []),
    }


def _conditions(item: Json, now: datetime) -> str:
    rows = [
        [each.get("type"), each.get("status"), each.get("reason"), age(seconds_since(since, now)), each.get("message")]
        for each in item["conditions"]
        for since in [each.get("lastTransitionTime", "")]
    ]
    return table(["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], rows)


def _resource(item: Json) -> str:
    return f"registrymirror.k8s.osp.tech/{item['name']}"


def _watch(session: Session, name: str | None) -> int:
    """Print each mirror, then a row for each change, until interrupted."""
    last: dict[str, Any] = {}
    columns = [each for each in COLUMNS if session.form == WIDE or not each.wide]
    for mirror in session.kubectl.watch(MIRRORS, *([name] if name else [])):
        item = summary(mirror, current_time())
        seen = {key: value for key, value in item.items() if key != "age"}
        if last.get(item["name"]) == seen:
            continue
        is_first = not last
        last[item["name"]] = seen
        session.out.write(_row(session, columns, item, is_first=is_first))
        session.out.flush()
    return 0


def _row(session: Session, columns: list[Column], item: Json, *, is_first: bool) -> str:
    if session.form == JSON:
        return as_json(item)
    if session.form == YAML:
        return f"---\n{as_yaml(item)}"
    if session.form == NAME:
        return rendered(Listing((), [item], _resource), NAME)
    text = table([each.title for each in columns], [[each.value(item) for each in columns]], _WATCH_WIDTHS)
    return text if is_first else text.partition("\n")[2]
