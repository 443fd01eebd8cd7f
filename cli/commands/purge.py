"""Remove an image or a digest from all caches of a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.caches import administered_documents, caches_of
from cli.kubectl import KubectlError
from cli.objects import at, name_of, selector
from cli.output import Column, Listing, bytes_text

if TYPE_CHECKING:
    from argparse import Namespace

    from cli.kubectl import Json
    from cli.session import Session

INCOMPLETE: Final = 1
# A replica may fetch content from another one that is not purged yet.
_ROUNDS: Final = 5
COLUMNS: Final = (
    Column("POD", lambda item: item["pod"]),
    Column("FILES", lambda item: item["files"]),
    Column("REMOVED", lambda item: bytes_text(item["bytes"])),
)


def run(session: Session, options: Namespace) -> int:
    """Purge all replicas until none has the content. Return 1 if none had it, or a pod does not answer."""
    session.mirror(options.name)
    caches = caches_of(session, options.name)
    removed = {name_of(pod): {"pod": name_of(pod), "files": 0, "bytes": 0} for pod in caches.pods}
    for _ in range(_ROUNDS):
        outputs = administered_documents(session, caches, "purge", options.image)
        for pod, output in outputs.items():
            removed[pod]["files"] += output["files"]
            removed[pod]["bytes"] += output["bytes"]
        if not any(output["files"] for output in outputs.values()):
            break
    else:
        raise KubectlError("The caches keep fetching the content, because nodes ask for it. Stop these pulls first.")
    session.print(Listing(COLUMNS, list(removed.values()), lambda item: f"pod/{item['pod']}"))
    arguments = f"--namespace={session.namespace}", f"--selector={selector(options.name)}"
    expected = replicas_of(session.kubectl.items("statefulsets", *arguments))
    silent = {**dict.fromkeys(expected - removed.keys(), "It does not exist."), **caches.silent}
    for name, reason in sorted(silent.items()):
        session.hint(f"{name} may still have the content. {reason} Purge again when it runs.")
    if any(each["files"] for each in removed.values()):
        session.hint("Content of other images was kept. Nodes keep the images that they have pulled.")
        return INCOMPLETE if silent else 0
    which = "No cache that answers" if silent or not removed else f"No cache of {options.name}"
    session.hint(f"{which} has {options.image}. kubectl registry-mirror images {options.name}")
    return INCOMPLETE


def replicas_of(sets: list[Json]) -> set[str]:
    """Return the names of the pods that StatefulSets want."""
    return {f"{name_of(each)}-{number}" for each in sets for number in range(at(each, "spec", "replicas", default=1))}
