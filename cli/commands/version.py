"""Show the versions of the plugin, of the installed programs and of Kubernetes."""

from __future__ import annotations

import pkgutil
from collections import Counter
from typing import TYPE_CHECKING, Final

from cli.kubectl import parsed
from cli.objects import CONTROLLER, OBJECTS, WEBHOOK, at, label, name_of
from cli.output import Column, Listing

if TYPE_CHECKING:
    from argparse import Namespace

    from cli.kubectl import Json
    from cli.session import Session

# Written into the zipapp when it is built.
FILE: Final = "VERSION"
UNBUILT: Final = "development"
COLUMNS: Final = (
    Column("PROGRAM", lambda item: item["program"]),
    Column("VERSION", lambda item: item["version"]),
    Column("IMAGE", lambda item: item["image"]),
    Column("OBJECTS", lambda item: item["objects"] or "", wide=True),
)
# The chart and the controller write it. An image of a released chart has a digest and no tag.
_VERSION_LABEL: Final = "app.kubernetes.io/version"
_PROGRAMS: Final = {"StatefulSet": "cache", "DaemonSet": "agent"}
_SYSTEM: Final = {CONTROLLER: "controller", WEBHOOK: "webhook"}


def run(session: Session, options: Namespace) -> int:
    """Print the versions. Without a cluster, print that of the plugin before the error."""
    items = [{"program": "plugin", "version": own_version(), "image": "", "objects": 0}]
    try:
        if not options.client:
            items += [*installed(session), *_kubernetes(session)]
    finally:
        session.print(Listing(COLUMNS, items, lambda item: f"{item['program']}/{item['version']}"))
        session.out.flush()
    return 0


def own_version() -> str:
    """Return the version of the plugin."""
    try:
        content = pkgutil.get_data("cli", FILE)
    except OSError:
        content = None
    return content.decode().strip() if content else UNBUILT


def installed(session: Session) -> list[Json]:
    """Return each image that the objects of the system name."""
    namespace = f"--namespace={session.namespace}"
    found = session.kubectl.items("deployments", namespace)
    found += session.kubectl.items("statefulsets,daemonsets", namespace, f"--selector={OBJECTS}")
    return programs(found)


def programs(found: list[Json]) -> list[Json]:
    """Return each program, version and image of Deployments, StatefulSets and DaemonSets once."""
    images = Counter(
        (program, version_of(str(each.get("image", "")), label(obj, _VERSION_LABEL)), str(each.get("image", "")))
        for obj in found
        if (program := _PROGRAMS.get(obj["kind"]) or _SYSTEM.get(name_of(obj)))
        for each in at(obj, "spec", "template", "spec", "containers", default=())[:1]
    )
    return [
        {"program": program, "version": version, "image": image, "objects": count}
        for (program, version, image), count in sorted(images.items())
    ]


def version_of(image: str, labelled: str = "") -> str:
    """Return the tag of an image, or the label of its object, or the start of its digest."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or labelled or digest[:19]


def _kubernetes(session: Session) -> list[Json]:
    version = at(parsed(session.kubectl.text("version", "--output=json")), "serverVersion", "gitVersion")
    return [{"program": "kubernetes", "version": version or "", "image": "", "objects": 0}]
