"""Conditions in the standard form, each computed by a pure function from what one reconcile found.

A message says what is so and, where it is not as wanted, what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.defaults import dict_at
from controller.model.condition import (
    ACCEPTED,
    CACHE_AVAILABLE,
    CERTIFICATE_VALID,
    MESSAGE_MAX,
    READY,
    RECONCILED,
    STORAGE_RESIZED,
    UPSTREAM_REACHABLE,
    Condition,
    existing_conditions,
)
from controller.objects.resources import DAEMON_SET
from controller.objects.rollout import is_turning, ready_replicas, rolled_replicas

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.field_errors import FieldError
    from common.types import Json
    from controller.model.inputs import MissingInput
    from controller.model.mirror import Mirror
    from controller.model.observation import Observation
    from controller.model.results import ResizePlan, StorageResult
    from controller.status.failures import Failure


def accepted(problems: list[FieldError]) -> Condition:
    """Whether the spec can be acted on: one that was stored while no webhook watched may not be."""
    if not problems:
        return Condition(ACCEPTED, "True", "Valid", "The spec is valid.")
    told = "; ".join(map(str, problems))
    return Condition(
        ACCEPTED, "False", "InvalidSpec", f"{told}. What exists is left as it is until the spec is mended."
    )


def unreconciled(failure: Failure) -> Condition:
    """That the mirror could not be brought to what its spec says, for a reason that no other condition has."""
    return Condition(RECONCILED, "False", failure.reason, failure.message)


def reconciled_again(before: list[Json]) -> list[Condition]:
    """That it could, where it last could not."""
    failed = any(each["type"] == RECONCILED and each["status"] == "False" for each in before)
    return [Condition(RECONCILED, "True", "Reconciled", "All is done that the spec asks for.")] if failed else []


def is_uncounted(obj: Json, observation: Observation) -> bool:
    """Whether a cache that served has a StatefulSet that was just made again, around pods that stayed.

    Its empty status says nothing of them until Kubernetes has counted, which takes some milliseconds.
    """
    served = any(
        each.get("type") == CACHE_AVAILABLE and each.get("status") == "True" for each in existing_conditions(obj)
    )
    return served and not dict_at(observation.stateful_set, "status").get("observedGeneration")


def cache_available(obj: Json, mirror: Mirror, observation: Observation) -> Condition:
    """Whether at least one cache pod can serve."""
    if observation.refused is not None:
        return Condition(CACHE_AVAILABLE, "False", "ApplyFailed", f"The API server refused: {observation.refused}")
    somebodys = foreign(observation, nodes=False)
    if somebodys:
        return Condition(CACHE_AVAILABLE, "False", "ObjectNotOwned", somebodys)
    if is_uncounted(obj, observation):
        last = next(each for each in existing_conditions(obj) if each["type"] == CACHE_AVAILABLE)
        return Condition(CACHE_AVAILABLE, "True", last["reason"], last["message"])
    ready, wanted = ready_replicas(observation.stateful_set), mirror.spec.replicas
    if ready == 0:
        message = f"None of {wanted} cache pods is ready; {describe(mirror, 'statefulset,pod')}"
        return Condition(CACHE_AVAILABLE, "False", "NoReplicaReady", message)
    if is_turning(obj, mirror, observation.stateful_set):
        message = f"No cache pod for {mirror.upstream.url} is ready yet; pulls go to the upstream meanwhile."
        return Condition(CACHE_AVAILABLE, "False", "SwitchingUpstream", message)
    return _serving(ready, rolled_replicas(observation.stateful_set), wanted)


def _serving(ready: int, rolled: int, wanted: int) -> Condition:
    message = f"{ready} of {wanted} cache pods are ready."
    if rolled < ready:
        told = f"{message} {rolled} of them run what the spec asks for now; the others are replaced one by one."
        return Condition(CACHE_AVAILABLE, "True", "RollingOut", told)
    reason = "AllReplicasReady" if ready >= wanted else "SomeReplicasReady"
    return Condition(CACHE_AVAILABLE, "True", reason, message)


def lacking(what: MissingInput, refused: str | None = None) -> list[Condition]:
    """Why no cache can be built; what was known of its certificate counts no more, where that is lacking.

    `refused` is what the API server would not take of the rest of the mirror.
    """
    message = what.message if refused is None else f"{what.message} And the API server refused: {refused}"
    found = [Condition(CACHE_AVAILABLE, "False", what.reason, message)]
    if what.reason.startswith("CertificateSecret"):
        found.append(Condition(CERTIFICATE_VALID, "Unknown", what.reason, what.message))
    return found


def storage_resized(storage: StorageResult) -> Condition:
    """Whether each claim has been granted what the spec asks for."""
    plan = storage.plan
    if storage.refused is not None:
        return Condition(STORAGE_RESIZED, "False", "ResizeRefused", storage.refused)
    if not plan.missing:
        return Condition(STORAGE_RESIZED, "True", "Granted", f"Every claim has at least {plan.wanted}.")
    waiting = [claim for claim in plan.missing if claim not in plan.foreign]
    if not waiting:
        return Condition(STORAGE_RESIZED, "False", "ClaimForeign", f"{_left_alone(plan)} {plan.granted} are granted.")
    others = f" {_left_alone(plan)}" if plan.foreign else ""
    if plan.granted is None:
        message = f"{_first(waiting)} not bound to a volume yet; kubectl describe pvc -A says why.{others}"
        return Condition(STORAGE_RESIZED, "Unknown", "ClaimsPending", message)
    message = f"{_first(waiting)} waiting to grow to {plan.wanted}; {plan.granted} are granted.{others}"
    return Condition(STORAGE_RESIZED, "False", "Resizing", message)


def _left_alone(plan: ResizePlan) -> str:
    return (
        f"{_first(plan.foreign)} somebody's own, without this mirror's labels, and not grown to {plan.wanted}: grow it"
        " by hand, or ask for what it has."
    )


def ready(others: Iterable[Condition]) -> Condition:
    """The summary: the first of the others that is False, or Ready. What is Unknown does not stand in the way.

    Nor does an upstream that is away, since a mirror is there for just that; the reason and the message tell.
    """
    away = None
    for condition in others:
        if condition.status == "False" and condition.type != UPSTREAM_REACHABLE:
            return Condition(READY, "False", condition.reason, f"{condition.type}: {condition.message}")
        if condition.status == "False":
            away = condition
    if away is not None:
        return Condition(READY, "True", away.reason, f"The cache serves; {away.type}: {away.message}")
    return Condition(READY, "True", "Ready", "The cache serves, and every node that is to points at it.")


def merged(conditions: list[Condition], before: list[Json], generation: int, now: str) -> list[Json]:
    """The conditions as status has them; a transition time moves only where the status of its condition does."""
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


def foreign(observation: Observation, *, nodes: bool) -> str:
    """A sentence about foreign objects in the place of the cache's, or of what configures the nodes; empty for none."""
    found = observation.applied.foreign if observation.applied else {}
    theirs = {what: why for what, why in found.items() if what.startswith(f"{DAEMON_SET.name} ") == nodes}
    if not theirs:
        return ""
    listed = "; ".join(f"{what} {why}" for what, why in sorted(theirs.items()))
    return f"{listed}. It is left alone: rename or delete it, or name the mirror otherwise."


def describe(mirror: Mirror, kinds: str) -> str:
    """Where a person finds more."""
    return f"kubectl describe {kinds} -A -l mirror={mirror.name} says why."


def _first(claims: list[str]) -> str:
    more = f" and {len(claims) - 1} more are" if len(claims) > 1 else " is"
    return f"Claim {claims[0]}{more}"
