"""Compute the status of a mirror and the patch to it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.defaults import dict_at
from controller.model import condition
from controller.model.inputs import MissingInput
from controller.objects import rollout
from controller.status import conditions, failures, node_conditions, upstream_conditions

if TYPE_CHECKING:
    from common.field_errors import FieldError
    from common.types import Json
    from controller.model.condition import Condition
    from controller.model.mirror import Mirror
    from controller.model.observation import Observation
    from controller.status.failures import Failure


def status_of(obj: Json, mirror: Mirror, observation: Observation, namespace: str, now: str) -> Json:
    """Return the status of a valid mirror. Transition times of the stored `obj` are kept; `now` is RFC 3339."""
    found = _conditions(obj, mirror, observation, namespace)
    failure = failures.failure_of(observation)
    if failure is not None:  # before its consequences
        found.insert(1, conditions.unreconciled(failure))
    status = {
        "upstream": _upstream(obj, mirror, observation),
        "masqueradeUrl": mirror.masquerade,
        "clusterIPs": dict_at(observation.service, "spec").get("clusterIPs"),
        # Without a storage result the last one stays: admission compares a shrinking claim with it.
        "storage": observation.storage.plan.granted if observation.storage else dict_at(obj, "status").get("storage"),
        **_replicas(obj, observation),
        "nodes": _nodes(obj, observation),
    }
    status["summary"] = _summary(mirror, status)
    return _complete(obj, status, found, now)


def _nodes(obj: Json, observation: Observation) -> Json:
    """Return the counts of nodes. Those whose agent cannot be scheduled count apart."""
    desired, ready = node_conditions.node_counts(observation.daemon_set)
    apart = {"unschedulable": len(observation.unschedulable)} if observation.unschedulable else {}
    # The last number stays until the cache pods were asked.
    known = bool(observation.verdicts)
    pulling = observation.pulling if known else dict_at(obj, "status", "nodes").get("pulling")
    pulled = {} if pulling is None else {"pulling": pulling}
    return {"desired": node_conditions.schedulable(desired, observation), "ready": ready, **apart, **pulled}


def _summary(mirror: Mirror, status: Json) -> Json:
    """Return the counts as `kubectl get` shows them: a column has one field."""
    nodes = status["nodes"]
    return {
        "cache": f"{status['readyReplicas'] or 0}/{mirror.spec.replicas}",
        "nodes": f"{nodes['ready']}/{nodes['desired']}",
    }


def _upstream(obj: Json, mirror: Mirror, observation: Observation) -> str:
    """Return the first upstream in use: the former one until a cache pod serves the new one."""
    former = dict_at(obj, "status").get("upstream")
    is_switching = any(each.is_switching for each in observation.verdicts[:1])
    return str(former) if former and is_switching else mirror.upstream.url


def status_of_invalid(obj: Json, problems: list[FieldError], now: str) -> Json:
    """Return the status of a mirror with an invalid spec. Other fields keep their last values."""
    return _complete(obj, _kept(obj), [conditions.accepted(problems)], now)


def status_of_failing(obj: Json, failure: Failure, now: str) -> Json:
    """Return the status of a mirror whose reconcile fails. Other fields keep their last values."""
    return _complete(obj, _kept(obj), [conditions.unreconciled(failure)], now)


def status_of_terminating(obj: Json, message: str, now: str) -> Json:
    """Return the status of a mirror that is being deleted while its nodes are cleaned."""
    return _complete(obj, _kept(obj), [node_conditions.cleaning(message)], now)


def _kept(obj: Json) -> Json:
    status = dict_at(obj, "status")
    return {key: value for key, value in status.items() if key not in ("conditions", "observedGeneration")}


def _replicas(obj: Json, observation: Observation) -> Json:
    """Return the counts of cache pods. The last ones stay until Kubernetes has counted a new StatefulSet."""
    if conditions.is_uncounted(obj, observation):
        return {key: dict_at(obj, "status").get(key) for key in ("replicas", "readyReplicas")}
    return {
        "replicas": int(dict_at(observation.stateful_set, "status").get("replicas") or 0),
        "readyReplicas": rollout.ready_replicas(observation.stateful_set),
    }


def _conditions(obj: Json, mirror: Mirror, observation: Observation, namespace: str) -> list[Condition]:
    if isinstance(observation.inputs, MissingInput):
        return [conditions.accepted([]), *conditions.missing_input(observation.inputs)]
    found = [
        conditions.accepted([]),
        conditions.cache_available(obj, mirror, observation),
        upstream_conditions.upstream_reachable(obj, mirror, observation.verdicts),
        upstream_conditions.credentials_available(obj, mirror, namespace, observation.inputs, observation.verdicts),
        node_conditions.nodes_configured(
            mirror,
            observation,
            observation.inputs.masquerade_holder,
            serving=conditions.is_serving(obj, observation),
        ),
    ]
    if observation.inputs.tls.validity is not None:
        found.append(observation.inputs.tls.validity)
    return [*found, conditions.storage_resized(observation.storage)] if observation.storage else found


def _complete(obj: Json, status: Json, found: list[Condition], now: str) -> Json:
    generation = obj["metadata"].get("generation", 0)  # Kubernetes before 1.11 gave custom resources none
    before = condition.existing_conditions(obj)
    if all(each.type != condition.RECONCILED for each in found):
        found = [*found, *conditions.reconciled_again(before)]
    everything = [conditions.ready(found), *found, *conditions.stalled(found)]
    merged = conditions.merged(everything, before, generation, now)
    # Conditions that this reconcile did not compute stay.
    computed = {condition.STALLED, *(each.type for each in everything)}
    merged += [condition for condition in before if condition.get("type") not in computed]
    filled = {key: value for key, value in status.items() if value is not None}
    return {"observedGeneration": generation, **filled, "conditions": merged}


def status_patch(before: Json, after: Json) -> Json | None:
    """Return the merge patch from one status to the next; None if they are equal. Removed fields become null."""
    return _patch(before, after) or None


def _patch(before: Json, after: Json) -> Json:
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        was = before.get(key)
        if was != value:
            patch[key] = _patch(was, value) if isinstance(was, dict) and isinstance(value, dict) else value
    return patch
