"""Show the images that the caches of a mirror have stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.caches import administered_documents, caches_of, name_silent
from cli.objects import age, seconds_since
from cli.output import Column, Listing, bytes_text

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from datetime import datetime

    from cli.kubectl import Json
    from cli.session import Session

_UNTAGGED: Final = "<none>"
# Characters of a digest in a table.
_SHORT: Final = 19
COLUMNS: Final = (
    Column("REPOSITORY", lambda item: item["repository"] or _UNTAGGED),
    Column("TAG", lambda item: item["tag"] or _UNTAGGED),
    Column("DIGEST", lambda item: item["digest"][:_SHORT]),
    Column("SIZE", lambda item: bytes_text(item["size"])),
    Column("LAST USE", lambda item: f"{item['idle']} ago"),
    Column("PODS", lambda item: len(item["pods"])),
    Column("UPSTREAM", lambda item: item["upstream"], wide=True),
    Column("COMPLETE", lambda item: "no" if item["missingBlobs"] else "yes", wide=True),
    Column("FULL DIGEST", lambda item: item["digest"], wide=True),
)


def run(session: Session, options: Namespace) -> int:
    """Print the images, the last used first. Return 1 if no cache pod answers."""
    session.mirror(options.name)
    caches = caches_of(session, options.name)
    outputs = administered_documents(session, caches, "images")
    name_silent(session, caches, options.name)
    if not outputs:
        return 1
    items = merged({pod: output["images"] for pod, output in outputs.items()}, session.now)
    session.print(Listing(COLUMNS, items, name_of), f"The caches of {options.name} have stored no images.")
    return 0


def merged(images: Mapping[str, list[Json]], now: datetime) -> list[Json]:
    """Return each image once, with the pods that have it, its largest size and its last use at any of them."""
    found: dict[tuple[str, ...], Json] = {}
    for pod, stored in images.items():
        for image in stored:
            key = tuple(image[each] for each in ("upstream", "repository", "tag", "digest"))
            known = found.setdefault(key, {**image, "pods": []})
            known["pods"].append(pod)
            known["size"] = max(known["size"], image["size"])
            known["lastUsed"] = max(known["lastUsed"], image["lastUsed"])
            known["missingBlobs"] = min(known["missingBlobs"], image["missingBlobs"])
    for item in found.values():
        item["idle"] = age(seconds_since(item["lastUsed"], now))
    return sorted(found.values(), key=lambda item: str(item["lastUsed"]), reverse=True)


def name_of(item: Json) -> str:
    """Return the image as `purge` takes it."""
    if not item["tag"]:
        return str(item["digest"])
    return f"{item['upstream']}/{item['repository']}:{item['tag']}"
