"""Remove an image or a digest from all caches of a mirror."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cli.caches import administered, pods_of
from cli.kubectl import KubectlError
from cli.objects import at, name_of, selector
from cli.output import Column, Listing, bytes_text

if TYPE_CHECKING:
    from argparse import Namespace

    from cli.kubectl import Json
    from cli.session import Session

NOTHING_FOUND: Final = 1
# A replica may fetch content from another one that is not purged yet.
_ROUNDS: Final = 5
COLUMNS: Final = (
    Column("POD", lambda item: item["pod"]),
    Column("FILES", lambda item: item["files"]),
    Column("REMOVED", lambda item: bytes_text(item["bytes"])),
)


def run(session: Session, options: Namespace) -> int:
    """Purge all replicas until none has the content. Return 1 if none had it."""
    session.mirror(options.name)
    pods = pods_of(session, options.name)
    removed = {name_of(pod): {"pod": name_of(pod), "files": 0, "bytes": 0} for pod in pods}
    for _ in range(_ROUNDS):
        outputs = {
            pod: json.loads(output) for pod, output in administered(session, pods, "purge", options.image).items()
        }
        for pod, output in outputs.items():
            removed[pod]["files"] += output["files"]
            removed[pod]["bytes"] += output["bytes"]
        if not any(output["files"] for output in outputs.values()):
            break
    else:
        raise KubectlError("The caches keep fetching the content, because nodes ask for it. Stop these pulls first.")
    session.print(Listing(COLUMNS, list(removed.values()), lambda item: f"pod/{item['pod']}"))
    if absent := _replicas_without_pod(session, options.name, pods):
        session.hint(f"{absent} cache pods do not run. Their volumes are unchanged; purge again when they run.")
    if any(each["files"] for each in removed.values()):
        session.hint("Content of other images was kept. Nodes keep the images that they have pulled.")
        return 0
    session.hint(f"No cache of {options.name} has {options.image}. kubectl registry-mirror images {options.name}")
    return NOTHING_FOUND


def _replicas_without_pod(session: Session, mirror: str, pods: list[Json]) -> int:
    sets = session.kubectl.items("statefulsets", f"--namespace={session.namespace}", f"--selector={selector(mirror)}")
    return sum(int(at(each, "spec", "replicas", default=0)) for each in sets) - len(pods)
