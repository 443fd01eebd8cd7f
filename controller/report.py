"""The status of a mirror: a pure function of what a reconcile found. Written once, and only where it differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.defaults import dict_at
from controller import conditions, failing, node_conditions, rollout, upstream_conditions
from controller.facts import Lacking

if TYPE_CHECKING:
    from common.problems import Problem
    from controller.conditions import Condition
    from controller.failing import Failure
    from controller.findings import Findings
    from controller.mirror import Mirror

Json = dict[str, Any]


def status_of(raw: Json, mirror: Mirror, findings: Findings, namespace: str, now: str) -> Json:
    """Status of a valid mirror. `raw` is the stored object, whose transition times go on; `now` is RFC 3339."""
    found = _conditions(raw, mirror, findings, namespace)
    stuck = failing.stuck(findings.applied)
    if stuck is not None:  # before what follows from it
        found.insert(1, conditions.unreconciled(stuck))
    desired, ready = node_conditions.node_counts(findings.daemon_set)
    status = {
        "upstream": _upstream(raw, mirror, findings),
        "masqueradeUrl": mirror.masquerade,
        "clusterIPs": dict_at(findings.service, "spec").get("clusterIPs"),
        # Where storage was not looked at the last known stays: admission measures a shrinking claim by it.
        "storage": findings.storage.plan.granted if findings.storage else dict_at(raw, "status").get("storage"),
        **_replicas(raw, findings),
        "nodes": {"desired": desired, "ready": ready},
    }
    return _complete(raw, status, found, now)


def _upstream(raw: Json, mirror: Mirror, findings: Findings) -> str:
    """What is asked: the former upstream, until a cache pod of the new one serves."""
    turning = rollout.is_turning(raw, mirror, findings.stateful_set)
    return str(dict_at(raw, "status")["upstream"]) if turning else mirror.upstream.url


def status_of_invalid(raw: Json, problems: list[Problem], now: str) -> Json:
    """Status of a mirror whose spec cannot be acted on: the last known facts stay, the conditions tell."""
    return _complete(raw, _kept(raw), [conditions.accepted(problems)], now)


def status_of_failing(raw: Json, failure: Failure, now: str) -> Json:
    """Status of a mirror whose reconcile fails: the last known facts stay."""
    return _complete(raw, _kept(raw), [conditions.unreconciled(failure)], now)


def status_of_leaving(raw: Json, waiting: str, now: str) -> Json:
    """Status of a mirror that is being deleted while its nodes are cleaned."""
    return _complete(raw, _kept(raw), [node_conditions.cleaning(waiting)], now)


def _kept(raw: Json) -> Json:
    """The facts as they were last known."""
    status = dict_at(raw, "status")
    return {key: value for key, value in status.items() if key not in ("conditions", "observedGeneration")}


def _replicas(raw: Json, findings: Findings) -> Json:
    """Counts of cache pods; those of before while a StatefulSet that was made again has not been counted."""
    if conditions.is_uncounted(raw, findings):
        return {key: dict_at(raw, "status").get(key) for key in ("replicas", "readyReplicas")}
    return {
        "replicas": int(dict_at(findings.stateful_set, "status").get("replicas") or 0),
        "readyReplicas": rollout.ready_replicas(findings.stateful_set),
    }


def _conditions(raw: Json, mirror: Mirror, findings: Findings, namespace: str) -> list[Condition]:
    """Lacking what a cache is built from, nothing was looked at but that."""
    if isinstance(findings.facts, Lacking):
        return [conditions.accepted([]), *conditions.lacking(findings.facts, findings.refused)]
    found = [
        conditions.accepted([]),
        conditions.cache_available(raw, mirror, findings),
        upstream_conditions.upstream_reachable(raw, mirror, findings.verdict),
        upstream_conditions.credentials_available(raw, mirror, namespace, findings.facts, findings.verdict),
        node_conditions.nodes_configured(mirror, findings, findings.facts.masquerade_holder),
    ]
    if findings.facts.tls.validity is not None:
        found.append(findings.facts.tls.validity)
    return [*found, conditions.storage_resized(findings.storage)] if findings.storage else found


def _complete(raw: Json, status: Json, found: list[Condition], now: str) -> Json:
    generation = raw["metadata"].get("generation", 0)  # Kubernetes before 1.11 gave custom resources none
    before = conditions.stated(raw)
    if all(each.type != conditions.RECONCILED for each in found):
        found = [*found, *conditions.reconciled_again(before)]
    everything = [conditions.ready(found), *found]
    merged = conditions.merged(everything, before, generation, now)
    # What was not looked at this time stays as it was last seen.
    looked_at = {condition.type for condition in everything}
    merged += [condition for condition in before if condition.get("type") not in looked_at]
    filled = {key: value for key, value in status.items() if value is not None}
    return {"observedGeneration": generation, **filled, "conditions": merged}


def status_patch(before: Json, after: Json) -> Json | None:
    """Merge patch from one status to the next; None where they are the same. What is no longer said is taken out."""
    return _patch(before, after) or None


def _patch(before: Json, after: Json) -> Json:
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        was = before.get(key)
        if was != value:
            patch[key] = _patch(was, value) if isinstance(was, dict) and isinstance(value, dict) else value
    return patch
