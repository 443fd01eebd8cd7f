"""Storage: growth, scaling and deletion of claims that are bound to volumes made by hand, and of Pending ones."""

from __future__ import annotations

import itertools
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from controller.storage.resizer import FIRST_PAUSE, RENEWED_ANNOTATION
from tests.localcluster.commands import CONTROLLER_MANAGER
from tests.support import policies
from tests.support.audit import entries
from tests.support.components import POD, create_storage_class, create_volumes, grant_storage
from tests.support.faults import log_of
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.mirrors import MirrorBuilder

CONTROLLER = "registrymirror-controller"  # the end of its account's name
LEAST = str(20 * 2**30 + 1)  # what the API server accepts for a claim of 20Gi that requests more
QUOTA = resources.Kind("v1", "resourcequotas", "ResourceQuota")


def one(name: str) -> MirrorBuilder:
    """Build a mirror with host names of its own."""
    return a_mirror().named(name).of(f"{name}.example.com")


def claims(name: str) -> list[str]:
    """Return the names of the claims of a mirror's two pods."""
    return [f"image-store-registry-mirror-{name}-{ordinal}" for ordinal in (0, 1)]


def asked(kube: Kube, name: str) -> list[str]:
    """Return the storage that each claim requests."""
    found = [kube.find(resources.CLAIM, claim) for claim in claims(name)]
    return [claim["spec"]["resources"]["requests"]["storage"] for claim in found if claim]


def template(kube: Kube, name: str) -> str:
    """Return the storage in the claim template, or "" without a StatefulSet."""
    current = kube.find(resources.STATEFUL_SET, f"registry-mirror-{name}")
    return current["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] if current else ""


def has_template(kube: Kube, name: str, size: str) -> bool:
    """Return True if new claims would request `size`."""
    return template(kube, name) == size


def template_owner(kube: Kube, name: str) -> str:
    """Return the UID of the owner of new claims, or "" without a StatefulSet."""
    current = kube.find(resources.STATEFUL_SET, f"registry-mirror-{name}")
    return str(current["spec"]["volumeClaimTemplates"][0]["metadata"]["ownerReferences"][0]["uid"]) if current else ""


def a_bound_mirror(kube: Kube, name: str, *, growing: bool) -> None:
    """Create a mirror of 20Gi whose claims are bound to volumes made by hand."""
    create_storage_class(kube, name, growing=growing)
    create_volumes(kube, name, [f"{name}-0", f"{name}-1"], "20Gi")
    kube.mirror(one(name).on_class(name).storing("20Gi"))
    until(
        lambda: kube.get(resources.MIRROR, name).get("status", {}).get("storage") == "20Gi", why="both claims are bound"
    )


def owned(kube: Kube, name: str) -> bool:
    """Return True if the mirror is the only owner of both claims."""
    uid = kube.get(resources.MIRROR, name)["metadata"]["uid"]
    return all(owners(kube, claim) == [uid] for claim in claims(name))


def owners(kube: Kube, claim: str) -> list[str]:
    """Return the UIDs of a claim's owners."""
    return [owner["uid"] for owner in kube.get(resources.CLAIM, claim)["metadata"].get("ownerReferences") or []]


def uids(kube: Kube, name: str) -> dict[str, str]:
    """Return the UIDs of the mirror's claims that are not being deleted, by name."""
    current = [each["metadata"] for claim in claims(name) if (each := kube.find(resources.CLAIM, claim))]
    return {each["name"]: each["uid"] for each in current if "deletionTimestamp" not in each}


def grow(kube: Kube, name: str, size: str) -> str:
    """Set the storage of a mirror and return the output of kubectl."""
    patch = f'{{"spec":{{"volumeClaimTemplate":{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}}}}}'
    return kube.kubectl("patch", "rm", name, "--type=merge", "-p", patch)


def test_growth_keeps_claims_and_pods(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=True)
    assert kube.condition(name, "StorageResized") == ("True", "Granted")
    assert owned(kube, name)
    before = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"]
    pods = {pod["metadata"]["uid"] for pod in kube.every(POD, labelSelector=f"mirror={name}")}
    kept = uids(kube, name)

    assert grow(kube, name, "30Gi").endswith(" patched\n")
    until(lambda: asked(kube, name) == ["30Gi", "30Gi"], why="both claims ask for more")
    until(lambda: template(kube, name) == "30Gi", why="the StatefulSet is created with the new size")
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"] != before
    assert {pod["metadata"]["uid"] for pod in kube.every(POD, labelSelector=f"mirror={name}")} == pods
    message = kube.until_condition(name, "StorageResized", "False", "Resizing")
    assert "waits to grow to 30Gi." in message
    assert "20Gi are granted" in message

    for claim in claims(name):
        grant_storage(kube, claim, "30Gi")
    kube.until_condition(name, "StorageResized", "True", "Granted")
    assert kube.get(resources.MIRROR, name)["status"]["storage"] == "30Gi"
    assert "volumes cannot shrink" in grow(kube, name, "20Gi")
    assert (uids(kube, name), owned(kube, name)) == (kept, True)


def test_growth_not_granted_is_taken_back(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=True)
    before = uids(kube, name)
    grow(kube, name, "30Ti")
    until(lambda: asked(kube, name) == ["30Ti", "30Ti"], why="a mistyped growth is requested")
    until(lambda: template(kube, name) == "30Ti", why="the template follows")
    assert grow(kube, name, "20Gi").endswith(" patched\n")
    until(lambda: template(kube, name) == "20Gi", why="the template goes back")
    until(lambda: asked(kube, name) == [LEAST, LEAST], why="K9: the growth is no longer requested")
    until(lambda: kube.conditions(name)["StorageResized"][2] == "All claims have at least 20Gi.", why="nothing is left")
    assert uids(kube, name) == before


def test_many_growths_lose_no_claim(kube: Kube, name: str) -> None:
    """25 in a row, each as soon as the StatefulSet of the last one exists."""
    a_bound_mirror(kube, name, growing=True)
    before = uids(kube, name)
    for size in range(21, 46):
        grow(kube, name, f"{size}Gi")
        until(partial(has_template, kube, name, f"{size}Gi"), why="the template follows")
    assert (uids(kube, name), owned(kube, name)) == (before, True)
    kube.kubectl("delete", "rm", name, "--timeout=60s")
    all_gone(kube, name)


def all_gone(kube: Kube, name: str) -> None:
    """Wait until StatefulSet, claims and cache pods of a mirror are gone."""
    kube.until_gone(resources.STATEFUL_SET, f"registry-mirror-{name}")
    for claim in claims(name):
        kube.until_gone(resources.CLAIM, claim)
    until(lambda: not kube.every(POD, labelSelector=f"mirror={name}"), why="no pod is left")


@pytest.fixture
def own(renewed: Callable[..., Running]) -> Running:
    """Return a cluster whose components a test may stop."""
    return renewed()


def test_scaling_down_deletes_claims_of_removed_pods(own: Running) -> None:
    """Once the pod is gone, which its kubelet delays here, and not the other pod's claim."""
    kube, name, last = own.kube, "down", "registry-mirror-down-1"
    a_bound_mirror(kube, name, growing=True)
    first, second = claims(name)
    before = uids(kube, name)
    kube.patch(POD, last, {"metadata": {"finalizers": ["example.com/hold"]}})
    kube.patch(resources.MIRROR, name, {"spec": {"replicas": 1}})
    until(lambda: "deletionTimestamp" in kube.get(POD, last)["metadata"], why="the pod is being deleted")
    kube.patch(resources.SERVICE, "registry-mirror-down", {"spec": {"sessionAffinity": "None"}})
    service = partial(kube.get, resources.SERVICE, "registry-mirror-down")
    until(lambda: service()["spec"]["sessionAffinity"] == "ClientIP", why="the mirror was reconciled")
    assert uids(kube, name) == before
    kube.patch(POD, last, {"metadata": {"finalizers": None}})
    kube.until_gone(resources.CLAIM, second)
    assert uids(kube, name) == {first: before[first]}


def test_claims_of_an_earlier_version_are_adopted(own: Running) -> None:
    """Its StatefulSet owned its claims, and its template had no owner."""
    kube, name, child = own.kube, "earlier", "registry-mirror-earlier"
    a_bound_mirror(kube, name, growing=True)
    before = uids(kube, name)
    own.system.processes.stop(["controller"])
    current = kube.get(resources.STATEFUL_SET, child)
    del current["metadata"]["uid"], current["metadata"]["resourceVersion"]
    del current["spec"]["volumeClaimTemplates"][0]["metadata"]["ownerReferences"]
    current["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    kube.delete(resources.STATEFUL_SET, child, propagationPolicy="Orphan")
    kube.until_gone(resources.STATEFUL_SET, child)
    for claim in claims(name):
        kube.patch(resources.CLAIM, claim, {"metadata": {"ownerReferences": None}})
    earlier = kube.create(resources.STATEFUL_SET, current)["metadata"]["uid"]
    until(lambda: all(owners(kube, claim) == [earlier] for claim in claims(name)), why="the StatefulSet owns them")
    own.system.start_controller()
    until(lambda: owned(kube, name), why="the mirror owns the claims")
    found = partial(kube.find, resources.STATEFUL_SET, child)
    until(lambda: (found() or current)["metadata"].get("uid", earlier) != earlier, why="it is replaced")
    until(lambda: owned(kube, name), why="the mirror alone owns the claims")
    assert uids(kube, name) == before


def being_replaced(own: Running, name: str) -> Kube:
    """Create a mirror whose StatefulSet the controller has deleted for a growth, and Kubernetes has not."""
    kube = own.kube
    a_bound_mirror(kube, name, growing=True)
    own.cluster.kill(CONTROLLER_MANAGER)
    grow(kube, name, "30Gi")
    child = f"registry-mirror-{name}"
    going = lambda: kube.get(resources.STATEFUL_SET, child)["metadata"].get("finalizers") == ["orphan"]  # noqa: E731
    until(going, why="the StatefulSet is being deleted and leaves its pods")
    return kube


def test_deletion_during_growth_collects_pods_and_claims(own: Running) -> None:
    kube, name = being_replaced(own, "midst"), "midst"
    kube.kubectl("delete", "rm", name, "--timeout=60s")
    own.cluster.start_component(CONTROLLER_MANAGER)
    all_gone(kube, name)


def test_pods_refused_during_deletion_are_reported(own: Running) -> None:
    kube, name = being_replaced(own, "left"), "left"
    policies.refuse(kube, name, policies.rule("", "pods", "DELETE"))
    pod = f"registry-mirror-{name}-0"
    until(lambda: kube.http.delete(POD.path(NAMESPACE, pod), params={"dryRun": "All"}).is_error, why="in force")
    kube.kubectl("delete", "rm", name, "--timeout=60s")
    notes = lambda: [note for _, reason, note in kube.events(name) if reason == "CleanupIncomplete"]  # noqa: E731
    assert f"Pod {pod}: " in until(notes, why="an Event names the pods")[0]
    policies.lift(kube, name)


def test_orphaning_deletion_leaves_claims(kube: Kube, name: str) -> None:
    """A mirror created again under the name adopts them, with all that they hold."""
    a_bound_mirror(kube, name, growing=True)
    before = uids(kube, name)
    pods = {pod["metadata"]["uid"] for pod in kube.every(POD, labelSelector=f"mirror={name}")}
    kube.kubectl("delete", "rm", name, "--timeout=60s", "--cascade=orphan")
    until(lambda: not any(owners(kube, claim) for claim in claims(name)), why="the claims have no owner")
    uid = kube.mirror(one(name).on_class(name).storing("20Gi"))["metadata"]["uid"]
    until(lambda: owned(kube, name), why="the mirror owns the claims")
    until(lambda: template_owner(kube, name) == uid, why="the mirror will own new claims")
    assert uids(kube, name) == before
    assert {pod["metadata"]["uid"] for pod in kube.every(POD, labelSelector=f"mirror={name}")} == pods


def test_refused_replacement_is_reported_and_repeated(kube: Kube, name: str) -> None:
    """A policy protects the StatefulSet. All other objects of the mirror are reconciled meanwhile."""
    child = f"registry-mirror-{name}"
    policies.refuse(kube, name, policies.rule("apps", "statefulsets", "DELETE", name=child))
    a_bound_mirror(kube, name, growing=True)
    kind = resources.STATEFUL_SET.path(NAMESPACE, child)
    until(lambda: kube.http.delete(kind, params={"dryRun": "All"}).is_error, why="the policy is in force")
    before = uids(kube, name)
    grow(kube, name, "30Gi")
    message = kube.until_condition(name, "StorageResized", "False", "ResizeRefused")
    assert message.startswith("The StatefulSet cannot be replaced for 30Gi: ")
    generation = kube.get(resources.STATEFUL_SET, child)["metadata"]["generation"]
    kube.delete(resources.SERVICE, child)
    kube.until_there(resources.SERVICE, child)
    assert kube.get(resources.STATEFUL_SET, child)["metadata"]["generation"] == generation
    policies.lift(kube, name)
    until(lambda: template(kube, name) == "30Gi", why="the template follows", seconds=90)
    assert uids(kube, name) == before


def test_claims_of_another_controller_keep_their_owner(kube: Kube, name: str) -> None:
    """Growth of the mirror goes on."""
    a_bound_mirror(kube, name, growing=True)
    theirs = kube.create(resources.CONFIG_MAP, {"metadata": {"name": name}})["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": theirs, "controller": True}
    for claim in claims(name):
        kube.patch(resources.CLAIM, claim, {"metadata": {"ownerReferences": [owner]}})
    before = uids(kube, name)
    grow(kube, name, "30Gi")
    until(lambda: template(kube, name) == "30Gi", why="the template follows")
    assert uids(kube, name) == before
    assert [owners(kube, claim) for claim in claims(name)] == [[theirs], [theirs]]


def test_class_without_expansion_is_reported(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=False)
    before = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]
    grow(kube, name, "30Gi")
    message = kube.until_condition(name, "StorageResized", "False", "ResizeRefused")
    assert message.startswith("30Gi cannot be granted, all claims stay as they are: ")
    assert "storageclass" in message.lower()
    assert asked(kube, name) == ["20Gi", "20Gi"]
    after = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    kube.until_event(name, "Warning", "ResizeRefused")
    assert grow(kube, name, "20Gi").endswith(" patched\n")
    kube.until_condition(name, "StorageResized", "True", "Granted")


def test_pending_claims_are_recreated_with_new_size(kube: Kube, name: str) -> None:
    kube.mirror(one(name).on_class("without-provisioner"))
    until(lambda: asked(kube, name) == ["20Gi", "20Gi"], why="both claims are there, unbound")
    grow(kube, name, "25Gi")
    until(lambda: asked(kube, name) == ["25Gi", "25Gi"], why="both claims were recreated")
    assert template(kube, name) == "25Gi"
    grow(kube, name, "10Gi")
    until(lambda: asked(kube, name) == ["10Gi", "10Gi"], why="nothing was granted, so it may go down too")


def test_claims_protected_by_policy_are_reported(kube: Kube, name: str) -> None:
    """Pending claims cannot grow, so the controller deletes them. All other objects are reconciled."""
    kube.mirror(one(name).on_class("without-provisioner"))
    until(lambda: asked(kube, name) == ["20Gi", "20Gi"], why="both claims are there, unbound")
    claim = claims(name)[0]
    policies.refuse(kube, name, policies.rule("", "persistentvolumeclaims", "DELETE", name=claim))
    path = resources.CLAIM.path(NAMESPACE, claim)
    until(lambda: kube.http.delete(path, params={"dryRun": "All"}).is_error, why="the policy is in force")
    grow(kube, name, "30Gi")
    message = kube.until_condition(name, "StorageResized", "False", "ResizeRefused")
    assert message.startswith("Claims cannot be deleted: ")
    service = f"registry-mirror-{name}"
    kube.delete(resources.SERVICE, service)
    kube.until_there(resources.SERVICE, service)
    policies.lift(kube, name)
    until(lambda: asked(kube, name) == ["30Gi", "30Gi"], why="both claims were recreated", seconds=90)


def test_claim_refused_by_quota_causes_no_loop(shared: Running, name: str) -> None:
    """Kubernetes retries by itself. The controller changes the StatefulSet with a growing pause."""
    kube = shared.kube
    kube.mirror(one(name).on_class(name))
    until(lambda: asked(kube, name) == ["20Gi", "20Gi"], why="both claims are there, unbound")
    until(
        lambda: kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["status"].get("replicas") == 2, why="pods"
    )
    limit = {f"{name}.storageclass.storage.k8s.io/requests.storage": "50Gi"}
    kube.create(QUOTA, {"metadata": {"name": name}, "spec": {"hard": limit}})
    until(lambda: kube.get(QUOTA, name)["status"].get("used"), why="the quota counts")
    grow(kube, name, "40Gi")
    until(lambda: len(asked(kube, name)) < 2 and template(kube, name) == "40Gi", why="a claim cannot be recreated")

    def looked() -> list[Json]:
        lines = log_of(shared, "controller")
        return [line for line in lines if line.get("mirror") == name and line.get("why") == "ClaimsRenewing"]

    before = len(looked())
    until(lambda: len(looked()) > before + 1, why="it is looked at now and then", seconds=30)
    # The garbage collector patches the StatefulSet too, when it was deleted without its pods.
    requests = [
        each for each in audited(shared, "patch", f"registry-mirror-{name}") if CONTROLLER in each["user"]["username"]
    ]
    moments = [moment(each) for each in requests if each["objectRef"]["resource"] == "statefulsets"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert moments
    # Each pause is twice as long as the one before, but for the seconds that a request may take.
    assert all(pause > FIRST_PAUSE * 2**number - 1.0 for number, pause in enumerate(pauses)), pauses
    kube.delete(QUOTA, name)


def moment(request: Json) -> float:
    """Return when the API server received an audited request, in seconds since the epoch."""
    return datetime.fromisoformat(request["requestReceivedTimestamp"]).timestamp()


def test_scaling_to_zero_and_back_recreates_pods(own: Running) -> None:
    """Kubernetes reconciles while the claims are being deleted, creates no pod, and has no event for another try."""
    kube, name, child = own.kube, "scaled", "registry-mirror-scaled"

    def counted() -> int:
        return int(kube.get(resources.STATEFUL_SET, child)["status"].get("replicas") or 0)

    def observed() -> bool:
        current = kube.get(resources.STATEFUL_SET, child)
        return bool(
            current["spec"]["replicas"] == 2
            and current["status"]["observedGeneration"] == current["metadata"]["generation"]
        )

    kube.mirror(one(name).on_class("without-provisioner"))
    kube.until_there(resources.STATEFUL_SET, child)
    until(lambda: counted() == 2 and len(uids(kube, name)) == 2, why="pods and claims are there")
    own.system.processes.stop(["controller"])
    before = uids(kube, name)
    for claim in before:
        kube.patch(resources.CLAIM, claim, {"metadata": {"finalizers": ["example.com/hold"]}})
    kube.patch(resources.STATEFUL_SET, child, {"spec": {"replicas": 0}})
    until(lambda: not counted(), why="the pods are gone")
    for claim in before:
        kube.delete(resources.CLAIM, claim)
    assert not uids(kube, name), "the claims are being deleted"
    own.system.start_controller()
    until(observed, why="it is scaled back, and Kubernetes has reconciled it")
    for claim in before:
        kube.patch(resources.CLAIM, claim, {"metadata": {"finalizers": None}})
    until(lambda: len(uids(kube, name)) == 2 and counted() == 2, why="claims and pods are recreated")
    assert not set(uids(kube, name).values()) & set(before.values())


def test_claim_of_a_user_is_used_unchanged(shared: Running, name: str) -> None:
    """It exists, so the StatefulSet is not changed for it. Its capacity counts."""
    kube = shared.kube
    create_storage_class(kube, name, growing=True)
    create_volumes(kube, name, [f"{name}-0"], "10Gi")
    create_volumes(kube, name, [f"{name}-1"], "20Gi")
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": name, "resources": {"requests": {"storage": "10Gi"}}}
    kube.create(resources.CLAIM, {"metadata": {"name": claims(name)[0]}, "spec": {**spec, "volumeName": f"{name}-0"}})
    kube.mirror(one(name).on_class(name).storing("20Gi"))
    message = kube.until_condition(name, "StorageResized", "False", "ClaimForeign")
    assert message.startswith(f"Claim {claims(name)[0]} does not have this mirror's labels")
    assert kube.get(resources.MIRROR, name)["status"]["storage"] == "10Gi"
    assert asked(kube, name) == ["10Gi", "20Gi"]
    current = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]
    assert RENEWED_ANNOTATION not in current.get("annotations", {})


def audited(running: Running, verb: str, name: str) -> list[Json]:
    """Return the audit log's entries about one object."""
    return [
        line
        for line in entries(running.cluster)
        if line["verb"] == verb and line.get("objectRef", {}).get("name") == name
    ]


def test_same_amount_in_another_spelling_is_unchanged(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=True)
    before = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"]
    grow(kube, name, "20480Mi")
    generation = kube.get(resources.MIRROR, name)["metadata"]["generation"]
    until(lambda: kube.get(resources.MIRROR, name)["status"]["observedGeneration"] == generation, why="seen")
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"] == before
    assert kube.condition(name, "StorageResized") == ("True", "Granted")
