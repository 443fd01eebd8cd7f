"""Check the mirrors: their conditions, and contradictions to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.doctor.finding import ERROR, WARNING, Finding
from cli.objects import CONTROLLER, PREFIX, age, at, name_of, seconds_since

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.snapshot import Snapshot
    from cli.kubectl import Json

# Conditions that repeat others.
_SUMMARIES: Final = frozenset({"Ready", "Stalled"})
# Reasons of conditions that are True and still need attention.
_WARNINGS: Final = frozenset(
    {"AgentsUnschedulable", "ExpiresSoon", "SomeReplicasReady", "StoreUnwritable", "SwitchingUpstream"}
)
# Reasons of conditions that are Unknown for a moment, or by nature.
_ORDINARY: Final = frozenset({"CredentialsNotVerified"})
_OTHER_NAMES_OF_HUB: Final = ("docker.io", "index.docker.io", "registry.hub.docker.com")
# Seconds that the controller has for a new mirror or a changed spec.
_PATIENCE: Final = 10.0
_NOT_ASKED: Final = "NotAsked"
# Seconds within which new cache pods ask their upstreams, and the controller asks the pods.
_ASKED_WITHIN: Final = 30.0
_PREFIX_OF_URL: Final = "://"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield the findings of all mirrors."""
    for mirror in snapshot.mirrors:
        yield from _deletion(mirror, snapshot)
        yield from _progress(mirror, snapshot)
        yield from _conditions(mirror, snapshot)
        yield from _masquerade(mirror)


def _conditions(mirror: Json, snapshot: Snapshot) -> Iterator[Finding]:
    for each in at(mirror, "status", "conditions", default=()):
        kind, status, reason = each.get("type"), each.get("status"), each.get("reason", "")
        if kind in _SUMMARIES or reason in _ORDINARY or (status == "True" and reason not in _WARNINGS):
            continue
        if reason == _NOT_ASKED and seconds_since(each.get("lastTransitionTime", ""), snapshot.now) < _ASKED_WITHIN:
            continue
        severity = ERROR if status == "False" else WARNING
        action = f"Follow the message. Read all conditions and Events: kubectl describe rm {name_of(mirror)}"
        yield Finding(severity, reason, _object(mirror), f"{kind}: {each.get('message', '')}", action)


def _progress(mirror: Json, snapshot: Snapshot) -> Iterator[Finding]:
    """Yield a mirror with an unprocessed spec, or without its objects."""
    if at(mirror, "metadata", "deletionTimestamp"):
        return
    seen, generation = at(mirror, "status", "observedGeneration"), at(mirror, "metadata", "generation")
    young = seconds_since(at(mirror, "metadata", "creationTimestamp", default=""), snapshot.now) < _PATIENCE
    if seen != generation and not young:
        message = "The controller has not processed the latest spec."
        yield Finding(ERROR, "NotProcessed", _object(mirror), message, _check_controller(snapshot))
    elif seen == generation and "statefulsets" not in snapshot.unread and _lacks_objects(mirror, snapshot):
        message = f"Its StatefulSet does not exist in {snapshot.namespace}. The status of the mirror is out of date."
        yield Finding(ERROR, "ObjectsMissing", _object(mirror), message, _check_controller(snapshot))


def _lacks_objects(mirror: Json, snapshot: Snapshot) -> bool:
    claims_to_serve = any(
        each.get("type") == "CacheAvailable" and each.get("status") == "True"
        for each in at(mirror, "status", "conditions", default=())
    )
    return claims_to_serve and snapshot.find("StatefulSet", f"{PREFIX}{name_of(mirror)}") is None


def _check_controller(snapshot: Snapshot) -> str:
    return f"Start the controller, or read its log: kubectl logs -n {snapshot.namespace} deployment/{CONTROLLER}"


def _deletion(mirror: Json, snapshot: Snapshot) -> Iterator[Finding]:
    deleted = at(mirror, "metadata", "deletionTimestamp")
    if not deleted:
        return
    name, since = name_of(mirror), age(seconds_since(deleted, snapshot.now))
    deployment = snapshot.deployment(CONTROLLER)
    if "deployments" in snapshot.unread or at(deployment, "status", "readyReplicas"):
        action = "Repair the nodes that the condition NodesConfigured names, or wait for NODE_CLEANUP_DEADLINE."
    else:
        action = (
            "Start the controller, which cleans the nodes. If it is gone for good, remove the finalizer: kubectl patch"
            f' rm {name} --type=merge -p \'{{"metadata":{{"finalizers":null}}}}\''
        )
    yield Finding(WARNING, "Deleting", _object(mirror), f"It has been waiting for its deletion for {since}.", action)


def _masquerade(mirror: Json) -> Iterator[Finding]:
    """Yield a mirror with the name of its upstream. The webhook warns about it at admission only."""
    masquerade, upstream = at(mirror, "status", "masqueradeUrl"), at(mirror, "status", "upstream", default="")
    host = upstream.partition(_PREFIX_OF_URL)[2].partition(":")[0]
    names = {host, *(_OTHER_NAMES_OF_HUB if host == "registry-1.docker.io" else ())}
    if masquerade in names:
        yield Finding(
            WARNING,
            "MasqueradeIsUpstream",
            _object(mirror),
            f"masqueradeUrl is the upstream's own name, {masquerade}. All programs on the nodes reach the mirror"
            " instead of the upstream while the mirror answers.",
            "Set another spec.masqueradeUrl, for example mirror-" + host + ".",
        )


def _object(mirror: Json) -> str:
    return f"registrymirror/{name_of(mirror)}"
