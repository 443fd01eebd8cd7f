"""Find the reasons of pods that do not run: those of kubelet and scheduler, and Events of mounts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cli.doctor.finding import ERROR, Finding
from cli.objects import (
    CONTROLLER,
    DIALER,
    MIRROR_LABEL,
    NAME_LABEL,
    at,
    is_ready,
    label,
    name_of,
    restarts,
    seconds_since,
    waiting_reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.snapshot import Snapshot
    from cli.kubectl import Json

_LOGS: Final = "Read its log: kubectl logs -n {namespace} {pod} --previous"
_CONTROLLER_CREATES: Final = (
    f"The controller creates the Secret, or cert-manager if you use it. Look at the controller's pods: kubectl get pods"
    f" -n {{namespace}} -l {NAME_LABEL}={CONTROLLER}"
)
_ACTIONS: Final = {
    "ErrImagePull": "Check the image's name, and the pull Secret in IMAGE_PULL_SECRETS of the controller (chart:"
    " global.imageRegistry, global.imagePullSecrets).",
    "InvalidImageName": "Correct CACHE_IMAGE or HOSTESS_IMAGE of the controller (chart: cache.image, agent.image).",
    "CreateContainerConfigError": "Create the object that the message names.",
    "CreateContainerError": "Correct what the message names, for example a path of the node that is read-only.",
    "CrashLoopBackOff": _LOGS,
    "RunContainerError": "Correct what the message names, for example a path of the node that is read-only.",
    "Unschedulable": "Make room on the nodes, or change nodeSelector, tolerations or volume of the pod.",
    "SchedulerError": "Correct what the message names.",
}
# Those of webhook, controller and dialer, which the controller does not create.
_ACTIONS_OF_SYSTEM: Final = {
    "ErrImagePull": "Check the image's name (chart: global.imageRegistry and the image values), then the pull Secret in"
    " imagePullSecrets of the pod (chart: global.imagePullSecrets).",
    "InvalidImageName": "Correct the image's name (chart: global.imageRegistry and the image values).",
}
_ACTIONS_OF_EVENTS: Final = {
    "FailedMount": "Create the object, or make the path of the node writable, that the message names.",
    "FailedAttachVolume": "Look at the storage driver: the volume cannot be attached to the node.",
    "FailedCreatePodSandBox": "Look at the network plugin and the container runtime of the node.",
    "Failed": "Correct what the message names, for example a path of the node that is read-only.",
}
# Seconds after the grace period. A kubelet unmounts volumes in a few, and clocks differ.
_OVERDUE_AFTER: Final = 30.0
# A Secret that the controller or cert-manager creates, in a message of the kubelet.
_OWN_SECRET: Final = re.compile(r'secret "registry-?mirror-')
_PULL_REASONS: Final = frozenset({"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "RegistryUnavailable"})


def stuck(pod: Json, snapshot: Snapshot) -> Finding | None:
    """Return the reason of a pod that does not run; None without one."""
    if due := at(pod, "metadata", "deletionTimestamp"):
        return _overdue(pod, due, snapshot)
    if is_ready(pod):
        return None
    name = name_of(pod)
    reason, message = waiting_reason(pod)
    if reason:
        known = "ErrImagePull" if reason in _PULL_REASONS else reason
        actions = _ACTIONS if label(pod, MIRROR_LABEL) else {**_ACTIONS, **_ACTIONS_OF_SYSTEM}
        action = actions.get(known, "Correct what the message names.")
        action = action.format(namespace=snapshot.namespace, pod=name)
        message = message or f"The container was restarted {restarts(pod)} times."
        return Finding(ERROR, reason, f"pod/{name}", message, action)
    for event in snapshot.warnings_about("Pod", name):
        if event.get("reason") in _ACTIONS_OF_EVENTS:
            message, action = str(event.get("message", "")), _ACTIONS_OF_EVENTS[event["reason"]]
            if _OWN_SECRET.search(message):
                action = _CONTROLLER_CREATES.format(namespace=snapshot.namespace)
            return Finding(ERROR, event["reason"], f"pod/{name}", message, action)
    return None


def _overdue(pod: Json, due: str, snapshot: Snapshot) -> Finding | None:
    """Return a finding about a pod that stays after the end `due` of its grace period."""
    if seconds_since(due, snapshot.now) < _OVERDUE_AFTER:
        return None
    name, node, finalizers = name_of(pod), at(pod, "spec", "nodeName"), at(pod, "metadata", "finalizers")
    if finalizers:
        message = f"Its deletion was due at {due}, and finalizers hold it: {', '.join(finalizers)}."
        action = "Find out why the controller of that finalizer does not remove it."
    else:
        message = f"Its deletion was due at {due}, and the kubelet of {node} does not confirm it."
        action = (
            f"If the node is gone, delete it: kubectl delete node {node}. Or delete the pod: kubectl delete pod"
            f" -n {snapshot.namespace} {name} --force"
        )
    return Finding(ERROR, "Terminating", f"pod/{name}", message, action)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield the pods of mirrors and dialers that do not run, and workloads without some of their pods."""
    for pod in snapshot.of_kind("Pod"):
        of_system = label(pod, NAME_LABEL) == DIALER
        if (label(pod, MIRROR_LABEL) or of_system) and (found := stuck(pod, snapshot)):
            yield found
    for kind in ("StatefulSet", "DaemonSet", "ReplicaSet"):
        for workload in snapshot.of_kind(kind):
            yield from _not_created(workload, kind, snapshot)


def _not_created(workload: Json, kind: str, snapshot: Snapshot) -> Iterator[Finding]:
    status = workload.get("status", {})
    desired = status.get("desiredNumberScheduled", at(workload, "spec", "replicas", default=0))
    existing = status.get("currentNumberScheduled", status.get("replicas", 0))
    if existing >= desired:
        return
    for event in snapshot.warnings_about(kind, name_of(workload)):
        if event.get("reason") == "FailedCreate":
            yield Finding(
                ERROR,
                "FailedCreate",
                f"{kind.lower()}/{name_of(workload)}",
                str(event.get("message", "")),
                "Change the quota, the LimitRange or the admission policy that the message names, or set resources in"
                " spec.cache and spec.agent of the mirror.",
            )
            return
