"""Compute the conditions of the mirror, its cache and its storage. Pure.

A message states what is wrong, then what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common.defaults import dict_at
from controller.model.condition import (
    CACHE_AVAILABLE,
    MESSAGE_MAX,
    NODES_CONFIGURED,
    READY,
    RECONCILED,
    UPSTREAM_REACHABLE,
    Condition,
    existing_conditions,
)
from controller.model.inputs import Inputs
from controller.objects.resources import DAEMON_SET
from controller.objects.rollout import ready_replicas, rolled_replicas
from controller.status import reasons
from controller.status.failures import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.field_errors import FieldError
    from common.types import Json
    from controller.model.inputs import MissingInput
    from controller.model.mirror import Mirror
    from controller.model.observation import Observation
    from controller.model.results import ResizePlan, StorageResult
    from controller.status.failures import Failure


# Reasons of conditions that are not False and that Ready repeats. Ready stays True.
_REPEATED: Final = frozenset(
    each.name for each in (reasons.ADDING_UPSTREAM, reasons.AGENTS_UNSCHEDULABLE, reasons.NO_AGENT_SCHEDULED)
)


def accepted(problems: list[FieldError]) -> Condition:
    """Return Accepted. A spec stored without the webhook may be invalid."""
    if not problems:
        return reasons.SPEC_VALID.condition("The spec is valid.")
    listed = "; ".join(map(str, problems))
    return reasons.SPEC_INVALID.condition(f"{listed}. Existing objects stay unchanged. Correct the spec.")


def unreconciled(failure: Failure) -> Condition:
    """Return Reconciled, False."""
    return Condition(RECONCILED, "False", failure.reason, failure.message)


def reconciled_again(before: list[Json]) -> list[Condition]:
    """Return Reconciled, True, if it was False before."""
    failed = any(each["type"] == RECONCILED and each["status"] == "False" for each in before)
    return [reasons.IS_RECONCILED.condition("The mirror matches its spec again.")] if failed else []


def is_uncounted(obj: Json, observation: Observation) -> bool:
    """Return True if a serving cache got a new StatefulSet, and Kubernetes has not counted its pods yet.

    Counting takes some milliseconds.
    """
    return was_available(obj) and not dict_at(observation.stateful_set, "status").get("observedGeneration")


def was_available(obj: Json) -> bool:
    """Return True if CacheAvailable is True in the stored status."""
    return any((each["type"], each["status"]) == (CACHE_AVAILABLE, "True") for each in existing_conditions(obj))


def is_serving(obj: Json, observation: Observation) -> bool:
    """Return True if at least one cache pod is ready and serves one of the current upstreams."""
    current, verdicts = observation.stateful_set, observation.verdicts
    is_switching = bool(verdicts) and all(each.is_switching for each in verdicts)
    return (ready_replicas(current) > 0 and not is_switching) or is_uncounted(obj, observation)


def cache_available(obj: Json, mirror: Mirror, observation: Observation) -> Condition:
    """Return CacheAvailable."""
    if foreign := foreign_objects(observation, nodes=False):
        return reasons.CACHE_OBJECT_NOT_OWNED.condition(foreign)
    if is_uncounted(obj, observation):
        last = next(each for each in existing_conditions(obj) if each["type"] == CACHE_AVAILABLE)
        return Condition(CACHE_AVAILABLE, "True", last["reason"], last["message"])
    ready, desired = ready_replicas(observation.stateful_set), mirror.spec.replicas
    if ready == 0:
        why = observation.cache_fault or refusal(observation) or describe(mirror, "statefulset,pod")
        message = f"None of {desired} cache pods is ready. {pulls(mirror, observation)} {why}"
        return reasons.NO_REPLICA_READY.condition(message)
    if switching := _switching(mirror, observation):
        source = pulls(mirror, observation, switching.values())
        message = f"The cache pods do not serve {', '.join(switching)} yet. {source} Wait two minutes."
        is_first = mirror.upstream.url in switching
        return (reasons.SWITCHING_UPSTREAM if is_first else reasons.ADDING_UPSTREAM).condition(message)
    return _serving(ready, desired, observation)


def lacks_caches(mirror: Mirror, observation: Observation) -> bool:
    """Return True if the StatefulSet exists and not all of its pods are ready."""
    return observation.stateful_set is not None and ready_replicas(observation.stateful_set) < mirror.spec.replicas


def _switching(mirror: Mirror, observation: Observation) -> dict[str, str]:
    """Return URL and image host of each upstream that no cache pod serves yet. The pods answer 404 for it."""
    known = zip(mirror.sources, observation.verdicts, strict=False)
    return {each.upstream.url: each.upstream.image_host for each, verdict in known if verdict.is_switching}


def _serving(ready: int, desired: int, observation: Observation) -> Condition:
    rolled, count = rolled_replicas(observation.stateful_set), f"{ready} of {desired} cache pods are ready."
    message = f"{count} {observation.cache_fault}".rstrip()
    if rolled < ready:
        return reasons.ROLLING_OUT.condition(f"{message} {rolled} of them run the current spec. The rollout continues.")
    if problem := observation.volume_problem:
        return reasons.STORE_UNWRITABLE.condition(
            f"{count} {problem} New content is served without being stored. Free space on the volume, or repair it."
            " More storage in the spec helps against a full volume."
        )
    reason = reasons.ALL_REPLICAS_READY if ready >= desired else reasons.SOME_REPLICAS_READY
    return reason.condition(message)


def pulls(mirror: Mirror, observation: Observation, hosts: Iterable[str] = ()) -> str:
    """Return a sentence: where nodes pull images from that no cache pod serves; `hosts` are by default all of them."""
    holders = observation.inputs.images_holders if isinstance(observation.inputs, Inputs) else {}
    every = [each.upstream.image_host for each in mirror.sources]
    wanted = list(hosts) or every
    own = [host for host in wanted if host not in holders]
    images = "" if own == every else f"images of {', '.join(own)} "
    found = [f"{images}from the upstream{'s' if len(own) > 1 else ''}"] if own else []
    found += [
        f"{f'images of {host} ' if len(every) > 1 else ''}through RegistryMirror {holders[host]}"
        for host in wanted
        if host in holders
    ]
    return f"Nodes pull {', '.join(found)}."


def missing_input(missing: MissingInput) -> list[Condition]:
    """Return CacheAvailable, and CertificateValid if the certificate is missing."""
    found = [Condition(CACHE_AVAILABLE, "False", missing.reason, missing.message)]
    unknown = (each.condition(missing.message) for each in reasons.CERTIFICATE_UNKNOWN if each.name == missing.reason)
    return [*found, *unknown]


def storage_resized(storage: StorageResult) -> Condition:
    """Return StorageResized."""
    plan = storage.plan
    if storage.refused is not None:
        return reasons.RESIZE_REFUSED.condition(storage.refused)
    if not plan.missing:
        asks = f" {plan.take_back[0]['metadata']['name']} still requests {plan.requested}." if plan.take_back else ""
        return reasons.STORAGE_GRANTED.condition(f"All claims have at least {plan.wanted}.{asks}")
    waiting = [claim for claim in plan.missing if claim not in plan.foreign]
    if not waiting:
        return reasons.CLAIM_FOREIGN.condition(f"{_foreign_claims(plan)} {plan.granted} are granted.")
    others = f" {_foreign_claims(plan)}" if plan.foreign else ""
    more = f" {len(waiting) - 1} more claims wait too." if len(waiting) > 1 else ""
    if plan.granted is None:
        command = f"kubectl get events -A --field-selector involvedObject.name={waiting[0]}"
        message = f"Claim {waiting[0]} is not bound to a volume.{more}{others} Run: {command}"
        return reasons.CLAIMS_PENDING.condition(message)
    message = f"Claim {waiting[0]} waits to grow to {plan.wanted}.{more} {plan.granted} are granted.{others}"
    return reasons.RESIZING.condition(message)


def _foreign_claims(plan: ResizePlan) -> str:
    more = f" {len(plan.foreign) - 1} more claims do not either." if len(plan.foreign) > 1 else ""
    return (
        f"Claim {plan.foreign[0]} does not have this mirror's labels and stays below {plan.wanted}.{more}"
        " Resize it yourself, or request its size in the spec."
    )


def ready(others: Iterable[Condition]) -> Condition:
    """Return Ready: False if any condition except UpstreamReachable is False.

    It is Unknown if no agent can tell whether its node uses the mirror; other conditions that are Unknown are ignored.
    A mirror serves without its upstream, before it serves an added upstream, and without nodes that have no room for an
    agent. Reason and message then name the fault.
    """
    faults, unverified, nodes = [], None, ""
    for condition in others:
        if condition.type == NODES_CONFIGURED:
            nodes = condition.message
        if condition.status == "False" and condition.type != UPSTREAM_REACHABLE:
            return Condition(READY, "False", condition.reason, f"{condition.type}: {condition.message}")
        if condition.status == "False" or condition.reason in _REPEATED:
            faults.append(condition)
        if condition.reason in reasons.UNVERIFIED:
            unverified = condition
    if unverified is not None:
        return Condition(READY, "Unknown", unverified.reason, f"{unverified.type}: {unverified.message}")
    if faults:
        listed = " ".join(f"{each.type}: {each.message}" for each in faults)
        return Condition(READY, "True", faults[0].reason, f"The cache serves. {listed}")
    return reasons.IS_READY.condition(f"The cache serves. {nodes}".rstrip())


def stalled(others: Iterable[Condition]) -> list[Condition]:
    """Return Stalled if a user has to act before the controller can go on."""
    waiting = {each.name: each for each in reasons.STALLED_REASONS}
    found = (condition for condition in others if condition.status == "False" and condition.reason in waiting)
    return [waiting[each.reason].condition(f"{each.type}: {each.message}") for each in found][:1]


def merged(conditions: list[Condition], before: list[Json], generation: int, now: str) -> list[Json]:
    """Return the conditions for the status. A transition time changes only with the status of its condition."""
    known = {condition["type"]: condition for condition in before}
    return [_merged(condition, known.get(condition.type, {}), generation, now) for condition in conditions]


def _merged(condition: Condition, before: Json, generation: int, now: str) -> Json:
    same = before.get("status") == condition.status
    message = (
        condition.message if len(condition.message) <= MESSAGE_MAX else condition.message[: MESSAGE_MAX - 3] + "..."
    )
    return {
        "type": condition.type,
        "status": condition.status,
        "observedGeneration": generation,
        "lastTransitionTime": before.get("lastTransitionTime", now) if same else now,
        "reason": condition.reason,
        "message": message,
    }


def foreign_objects(observation: Observation, *, nodes: bool) -> str:
    """Return a sentence about objects of other owners; empty if there are none.

    `nodes` selects the DaemonSet instead of the cache's objects.
    """
    found = observation.applied.foreign if observation.applied else {}
    foreign = {name: why for name, why in found.items() if name.startswith(f"{DAEMON_SET.name} ") == nodes}
    if not foreign:
        return ""
    listed = "; ".join(f"{name} {why}" for name, why in sorted(foreign.items()))
    return f"{listed}. Delete {'it' if len(foreign) == 1 else 'them'}, or create the mirror under another name."


def describe(mirror: Mirror, kinds: str) -> str:
    """Return a sentence with the kubectl command for `kinds`."""
    return f"Run: kubectl describe {kinds} -A -l mirror={mirror.name}"
