"""Write a support bundle: objects, Events, logs and findings in one tar file. Secrets are blanked."""

from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.commands import doctor, events, nodes, status, version
from cli.doctor import snapshot
from cli.kubectl import KubectlError
from cli.objects import MIRRORS, NAME_LABEL, OBJECTS, label, name_of, restarts
from cli.output import as_json
from cli.redact import without_logins, without_secrets

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from cli.kubectl import Json
    from cli.session import Session

# Lines of the log of each container.
_LINES: Final = 5000
_READERS: Final = 8
_MODE: Final = 0o600  # the bundle describes the cluster
_OF_NAMESPACE: Final = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "pods",
    "services",
    "endpointslices",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "networkpolicies",
    "leases.coordination.k8s.io",
    "roles",
    "rolebindings",
    "serviceaccounts",
    "resourcequotas",
    "limitranges",
)
_OF_CLUSTER: Final = (
    "nodes",
    "storageclasses",
    "customresourcedefinitions",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "validatingadmissionpolicies",
)
# Objects of the cluster that belong to the system. Nodes and StorageClasses are all of interest.
_OURS: Final = "registrymirror"
_ALL: Final = frozenset({"nodes", "storageclasses"})


def run(session: Session, options: Namespace) -> int:
    """Write the file and print its name."""
    session.kubectl.text("get", "--raw=/version")
    folder = f"registry-mirror-report-{session.now:%Y%m%d-%H%M%S}"
    path = Path(options.file or f"{folder}.tar.gz")
    contents, failures = collected(session)
    contents["failures.txt"] = "".join(f"{name}: {why}\n" for name, why in sorted(failures.items()))
    try:
        write(path, folder, contents, session.now.timestamp())
    except OSError as error:
        raise KubectlError(f"Cannot write {path}: {error.strerror}. Name another file with --file.") from None
    session.out.write(f"{path}\n")
    session.hint("Values of Secrets, and logins in URLs and logs, are blanked. Check the file before you pass it on.")
    if failures:
        session.hint(f"{len(failures)} parts could not be read; failures.txt in the file lists them.")
    return 0


def collected(session: Session) -> tuple[dict[str, str], dict[str, str]]:
    """Return the contents by name, and the messages of the parts that could not be read."""
    contents, failures = dict[str, str](), dict[str, str]()

    def add(part: tuple[str, Callable[[], str]]) -> None:
        name, content = part
        try:
            contents[name] = without_logins(content())
        except KubectlError as error:
            failures[name] = without_logins(str(error))
        except Exception as error:  # noqa: BLE001 (one odd object must not cost the whole bundle)
            failures[name] = without_logins(repr(error))

    with ThreadPoolExecutor(_READERS) as readers:
        list(readers.map(add, _parts(session)))
    return contents, failures


def write(path: Path, folder: str, contents: dict[str, str], when: float) -> None:
    """Write a tar file that only the user can read. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in sorted(contents.items()):
            encoded = content.encode(errors="backslashreplace")
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(encoded), int(when), _MODE
            archive.addfile(entry, io.BytesIO(encoded))


def _parts(session: Session) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "status.json", lambda: as_json([status.summary(each, session.now) for each in session.mirrors()])
    yield "findings.json", lambda: as_json([each.as_json() for each in doctor.findings(snapshot.take(session))])
    yield "events.json", lambda: as_json(events.events_of(session, None))
    yield "version.json", lambda: as_json([{"plugin": version.own_version()}, *version.installed(session)])
    yield "objects/registrymirrors.json", partial(_objects, session, MIRRORS)
    for kind in _OF_NAMESPACE:
        yield f"objects/{kind}.json", partial(_objects, session, kind, f"--namespace={session.namespace}")
    for kind in _OF_CLUSTER:
        yield f"objects/{kind}.json", partial(_objects_of_cluster, session, kind)
    for pod in _pods(session):
        yield f"logs/{name_of(pod)}.log", partial(_log, session, name_of(pod))
        if restarts(pod):
            yield f"logs/{name_of(pod)}.previous.log", partial(_log, session, name_of(pod), "--previous")
    for mirror in _names_of_mirrors(session):
        yield f"nodes/{mirror}.json", partial(_nodes, session, mirror)


def _nodes(session: Session, mirror: str) -> str:
    return as_json(nodes.nodes_of(session, mirror))


def _objects(session: Session, kind: str, *arguments: str) -> str:
    return as_json([without_secrets(each) for each in session.kubectl.items(kind, *arguments)])


def _objects_of_cluster(session: Session, kind: str) -> str:
    found = session.kubectl.items(kind)
    return as_json([each for each in found if kind in _ALL or _OURS in name_of(each)])


def _pods(session: Session) -> list[Json]:
    """Return the pods of the system and of mirrors; none if the user may not list them."""
    try:
        found = session.kubectl.items("pods", f"--namespace={session.namespace}")
    except KubectlError:
        return []
    key, value = OBJECTS.split("=")
    return [each for each in found if label(each, key) == value or label(each, NAME_LABEL).startswith(_OURS)]


def _names_of_mirrors(session: Session) -> list[str]:
    try:
        return [name_of(each) for each in session.mirrors()]
    except KubectlError:
        return []


def _log(session: Session, pod: str, *arguments: str) -> str:
    namespace = f"--namespace={session.namespace}"
    return session.kubectl.text("logs", pod, namespace, "--all-containers", f"--tail={_LINES}", *arguments)
