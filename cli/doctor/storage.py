"""Check the claims of the cache pods."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from cli.doctor.finding import ERROR, WARNING, Finding
from cli.objects import MIRROR_LABEL, at, label, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.snapshot import Snapshot
    from cli.kubectl import Json

_QUANTITY: Final = re.compile(r"([0-9.]+)([KMGTPE]i|[kMGTPE]|m|)")
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_PROVISIONING: Final = frozenset({"ProvisioningFailed", "FailedBinding", "ExternalProvisioningFailed"})


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield the claims of mirrors without a volume, or without the requested storage."""
    for claim in snapshot.of_kind("PersistentVolumeClaim"):
        if not label(claim, MIRROR_LABEL):
            continue
        phase, where = at(claim, "status", "phase"), f"persistentvolumeclaim/{name_of(claim)}"
        if phase == "Lost":
            action = "Delete the claim and its pod. The cache fills a new volume."
            yield Finding(ERROR, "VolumeLost", where, "The volume of the claim does not exist any more.", action)
        elif phase == "Pending" and (found := _pending(claim, where, snapshot)):
            yield found
        elif phase == "Bound":
            yield from _resized(claim, where, snapshot)


def _pending(claim: Json, where: str, snapshot: Snapshot) -> Finding | None:
    name = at(claim, "spec", "storageClassName")
    classes = {name_of(each): each for each in snapshot.of_kind("StorageClass")}
    if "storageclasses" not in snapshot.unread:
        if name and name not in classes:
            action = "Create the StorageClass, or create another mirror with a StorageClass that exists."
            return Finding(ERROR, "NoStorageClass", where, f"The StorageClass {name} does not exist.", action)
        if name is None and not any(map(_is_default, classes.values())):
            message = "The claim names no StorageClass, and the cluster has no default one."
            action = "Mark a StorageClass as default, or create the mirror with storageClassName."
            return Finding(ERROR, "NoStorageClass", where, message, action)
    for event in snapshot.warnings_about("PersistentVolumeClaim", name_of(claim)):
        if event.get("reason") in _PROVISIONING:
            action = "Look at the storage driver of the StorageClass."
            return Finding(ERROR, event["reason"], where, str(event.get("message", "")), action)
    if _waits_for_pod(classes.get(name or "")):
        return None  # its pod has the reason
    message = "No volume is bound to the claim."
    return Finding(WARNING, "ClaimPending", where, message, "Look at the storage driver, or create a volume.")


def _is_default(storage_class: Json) -> bool:
    return bool(at(storage_class, "metadata", "annotations", _DEFAULT_CLASS) == "true")


def _waits_for_pod(storage_class: Json | None) -> bool:
    return bool(at(storage_class, "volumeBindingMode") == "WaitForFirstConsumer")


def _resized(claim: Json, where: str, snapshot: Snapshot) -> Iterator[Finding]:
    asked = at(claim, "spec", "resources", "requests", "storage", default="0")
    granted = at(claim, "status", "capacity", "storage", default="0")
    # The controller takes a growth back to the least request that Kubernetes accepts: one byte more than granted.
    if parsed(asked) <= parsed(granted) + 1:
        return
    mirror = next((each for each in snapshot.mirrors if name_of(each) == label(claim, MIRROR_LABEL)), None)
    path = ("spec", "volumeClaimTemplate", "spec", "resources", "requests", "storage")
    wanted = at(mirror, *path, default=asked)
    failed = snapshot.warnings_about("PersistentVolumeClaim", name_of(claim))
    why = f" {failed[0].get('message', '')}" if failed else ""
    if parsed(asked) > parsed(wanted):
        message = f"The claim still asks for {asked}, {granted} are granted, and the mirror wants {wanted}.{why}"
        least = wanted if parsed(wanted) > parsed(granted) else int(parsed(granted)) + 1  # Kubernetes refuses less
        action = f"Set its request to {least}: kubectl edit pvc -n {snapshot.namespace} {name_of(claim)}"
    else:
        message = f"The claim asks for {asked}, and {granted} are granted.{why}"
        action = "Wait. If it lasts, look at the storage driver, or restore the size in the spec."
    yield Finding(WARNING, "StorageNotGranted", where, message, action)


def parsed(quantity: object) -> Fraction:
    """Return the value of a quantity; 0 for another text."""
    found = _QUANTITY.fullmatch(str(quantity))
    if not found:
        return Fraction(0)
    number, suffix = Fraction(found[1]), found[2]
    if suffix == "m":
        return number / 1000
    power = " kMGTPE".find(suffix.removesuffix("i").replace("K", "k")) if suffix else 0
    return number * int((1024 if suffix.endswith("i") else 1000) ** power)
