"""Storage that grows: of claims bound to volumes made by hand, whose class can grow or cannot, and of Pending ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from controller.storage.resizer import RENEWED_ANNOTATION
from tests.localcluster.commands import CONTROLLER_MANAGER
from tests.support import policies
from tests.support.audit import entries
from tests.support.faults import log_of
from tests.support.hands import POD, a_storage_class, resizer_grants, volumes
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.mirrors import MirrorBuilder

QUOTA = resources.Kind("v1", "resourcequotas", "ResourceQuota")


def one(name: str) -> MirrorBuilder:
    """A mirror whose host names no other test's mirror has."""
    return a_mirror().named(name).of(f"{name}.example.com")


def claims(name: str) -> list[str]:
    """Names of the claims of a mirror's two pods."""
    return [f"image-store-registry-mirror-{name}-{ordinal}" for ordinal in (0, 1)]


def asked(kube: Kube, name: str) -> list[str]:
    """What each claim asks for."""
    found = [kube.find(resources.CLAIM, claim) for claim in claims(name)]
    return [claim["spec"]["resources"]["requests"]["storage"] for claim in found if claim]


def template(kube: Kube, name: str) -> str:
    """What the StatefulSet asks for in the claims it makes; empty while there is none."""
    live = kube.find(resources.STATEFUL_SET, f"registry-mirror-{name}")
    return live["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] if live else ""


def a_bound_mirror(kube: Kube, name: str, *, growing: bool) -> None:
    """A mirror of 20Gi whose claims are bound to volumes made by hand."""
    a_storage_class(kube, name, growing=growing)
    volumes(kube, name, [f"{name}-0", f"{name}-1"], "20Gi")
    kube.mirror(one(name).on_class(name).storing("20Gi"))
    until(
        lambda: kube.get(resources.MIRROR, name).get("status", {}).get("storage") == "20Gi", why="both claims are bound"
    )


def retention(kube: Kube, name: str) -> str:
    """What becomes of the claims when the StatefulSet is deleted."""
    live = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")
    return str(live["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"])


def taken_over(kube: Kube, name: str) -> bool:
    """Whether both claims are the StatefulSet's, and so go with the mirror."""
    live = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")
    owners = [kube.get(resources.CLAIM, claim)["metadata"].get("ownerReferences") or [] for claim in claims(name)]
    return all(live["metadata"]["uid"] in [owner["uid"] for owner in each] for each in owners)


def uids(kube: Kube, name: str) -> dict[str, str]:
    """UIDs of the mirror's claims that are not going, by name."""
    live = [each["metadata"] for claim in claims(name) if (each := kube.find(resources.CLAIM, claim))]
    return {each["name"]: each["uid"] for each in live if "deletionTimestamp" not in each}


def grow(kube: Kube, name: str, size: str) -> str:
    """What kubectl says when the mirror is to have `size`."""
    patch = f'{{"spec":{{"volumeClaimTemplate":{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}}}}}'
    return kube.kubectl("patch", "rm", name, "--type=merge", "-p", patch)


def test_claims_of_a_class_that_can_grow_are_asked_for_more_and_the_pods_stay(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=True)
    assert kube.condition(name, "StorageResized") == ("True", "Granted")
    before = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"]
    pods = {pod["metadata"]["uid"] for pod in kube.every(POD, labelSelector=f"mirror={name}")}

    assert grow(kube, name, "30Gi").endswith(" patched\n")
    until(lambda: asked(kube, name) == ["30Gi", "30Gi"], why="both claims ask for more")
    until(lambda: template(kube, name) == "30Gi", why="the StatefulSet is made again with the new size")
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"] != before
    assert {pod["metadata"]["uid"] for pod in kube.every(POD, labelSelector=f"mirror={name}")} == pods
    until(lambda: taken_over(kube, name), why="the claims are the new one's")
    assert retention(kube, name) == "Delete"
    told = kube.until_condition(name, "StorageResized", "False", "Resizing")
    assert "waits to grow to 30Gi." in told
    assert "20Gi are granted" in told

    for claim in claims(name):
        resizer_grants(kube, claim, "30Gi")
    kube.until_condition(name, "StorageResized", "True", "Granted")
    assert kube.get(resources.MIRROR, name)["status"]["storage"] == "30Gi"
    assert "volumes cannot shrink" in grow(kube, name, "20Gi")


def test_a_growth_that_was_never_granted_can_be_taken_back_to_what_was(kube: Kube, name: str) -> None:
    """At once, while Kubernetes makes each StatefulSet the owner of the claims: none is taken for the former one's."""
    a_bound_mirror(kube, name, growing=True)
    before = uids(kube, name)
    grow(kube, name, "30Ti")
    until(lambda: asked(kube, name) == ["30Ti", "30Ti"], why="a mistyped growth is asked for")
    until(lambda: template(kube, name) == "30Ti", why="the template follows")
    assert grow(kube, name, "20Gi").endswith(" patched\n")
    until(lambda: template(kube, name) == "20Gi", why="the template goes back")
    kube.until_condition(name, "StorageResized", "True", "Granted")
    assert uids(kube, name) == before


def told_to_keep(own: Running, name: str) -> Kube:
    """A mirror whose StatefulSet has been told to keep its claims, so that it can be made again; nobody sees it yet."""
    a_bound_mirror(own.kube, name, growing=True)
    until(lambda: taken_over(own.kube, name), why="Kubernetes has taken over both claims")
    own.cluster.kill(CONTROLLER_MANAGER)
    grow(own.kube, name, "30Gi")
    until(lambda: retention(own.kube, name) == "Retain", why="the claims are to be kept")
    return own.kube


def nobodys(kube: Kube, name: str) -> None:
    """Kubernetes' part, played here: it lets go of the claims, and the StatefulSet is going, leaving its pods."""
    for claim in claims(name):
        kube.patch(resources.CLAIM, claim, {"metadata": {"ownerReferences": None}})
    child = f"registry-mirror-{name}"
    going = lambda: kube.get(resources.STATEFUL_SET, child)["metadata"].get("finalizers") == ["orphan"]  # noqa: E731
    until(going, why="the StatefulSet is going, and leaves its pods")


def test_claims_go_with_a_mirror_that_is_deleted_in_the_midst_of_growing(own: Running) -> None:
    kube, name = told_to_keep(own, "midst"), "midst"
    kube.kubectl("delete", "rm", name, "--wait=false")
    own.cluster.start_component(CONTROLLER_MANAGER)
    kube.until_gone(resources.STATEFUL_SET, f"registry-mirror-{name}")
    for claim in claims(name):
        kube.until_gone(resources.CLAIM, claim)


def test_pods_and_claims_go_with_a_mirror_that_is_deleted_when_they_are_nobodys(own: Running) -> None:
    kube, name = told_to_keep(own, "nobodys"), "nobodys"
    nobodys(kube, name)
    kube.kubectl("delete", "rm", name, "--timeout=60s")
    own.cluster.start_component(CONTROLLER_MANAGER)
    kube.until_gone(resources.STATEFUL_SET, f"registry-mirror-{name}")
    for claim in claims(name):
        kube.until_gone(resources.CLAIM, claim)
    until(lambda: not kube.every(POD, labelSelector=f"mirror={name}"), why="no pod is left")


def test_what_cannot_be_taken_along_is_told_and_holds_no_mirror(own: Running) -> None:
    kube, name = told_to_keep(own, "left"), "left"
    policies.refuse(kube, name, policies.rule("", "persistentvolumeclaims", "DELETE"))
    path = resources.CLAIM.path(NAMESPACE, claims(name)[0])
    until(lambda: kube.http.delete(path, params={"dryRun": "All"}).is_error, why="the policy is in force")
    nobodys(kube, name)
    kube.kubectl("delete", "rm", name, "--timeout=60s")
    told = lambda: [note for _, reason, note in kube.events(name) if reason == "CleanupIncomplete"]  # noqa: E731
    note = until(told, why="an Event tells what is left")[0]
    for claim in claims(name):
        assert f"PersistentVolumeClaim {claim}: " in note


def kept_by_policy(kube: Kube) -> bool:
    """Whether the claims of a StatefulSet that is made now are kept."""
    labels = {"app": "probe"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "one", "image": "none"}]}}
    policy = {"whenDeleted": "Delete"}
    spec = {"selector": {"matchLabels": labels}, "template": pod, "persistentVolumeClaimRetentionPolicy": policy}
    made = kube.create(resources.STATEFUL_SET, {"metadata": {"name": "probe"}, "spec": spec}, dryRun="All")
    return bool(made["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain")


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_policy_that_keeps_claims_is_no_growth_and_they_stay(own: Running, cascade: str) -> None:
    """Somebody's own, that lets no StatefulSet delete its claims: growth works, and deletion leaves them."""
    kube, name = own.kube, "policy"
    kept = "Object.spec.persistentVolumeClaimRetentionPolicy{whenDeleted: 'Retain'}"
    change = f"Object{{spec: Object.spec{{persistentVolumeClaimRetentionPolicy: {kept}}}}}"
    policies.alter(kube, name, policies.rule("apps", "statefulsets", "CREATE", "UPDATE"), change)
    until(lambda: kept_by_policy(kube), why="the policy is in force")
    a_bound_mirror(kube, name, growing=True)
    assert retention(kube, name) == "Retain"
    before = uids(kube, name)
    grow(kube, name, "30Gi")
    until(lambda: template(kube, name) == "30Gi", why="the template follows")
    kube.kubectl("delete", "rm", name, "--timeout=60s", f"--cascade={cascade}")
    kube.until_gone(resources.STATEFUL_SET, f"registry-mirror-{name}")
    assert uids(kube, name) == before


def test_a_stateful_set_that_must_not_be_deleted_is_told_and_made_again_when_it_may(kube: Kube, name: str) -> None:
    """Somebody's policy protects it: meanwhile all else is kept, and nobody quarrels over its retention."""
    child = f"registry-mirror-{name}"
    policies.refuse(kube, name, policies.rule("apps", "statefulsets", "DELETE", name=child))
    a_bound_mirror(kube, name, growing=True)
    kind = resources.STATEFUL_SET.path(NAMESPACE, child)
    until(lambda: kube.http.delete(kind, params={"dryRun": "All"}).is_error, why="the policy is in force")
    before = uids(kube, name)
    grow(kube, name, "30Gi")
    told = kube.until_condition(name, "StorageResized", "False", "ResizeRefused")
    assert told.startswith("The claims grow, but their StatefulSet cannot be made again for 30Gi: ")
    generation = kube.get(resources.STATEFUL_SET, child)["metadata"]["generation"]
    kube.delete(resources.SERVICE, child)
    kube.until_there(resources.SERVICE, child)
    assert kube.get(resources.STATEFUL_SET, child)["metadata"]["generation"] == generation
    policies.lift(kube, name)
    until(lambda: template(kube, name) == "30Gi", why="the template follows", seconds=90)
    until(lambda: taken_over(kube, name), why="the claims are the new one's")
    assert uids(kube, name) == before


def test_claims_that_somebody_else_owns_do_not_keep_a_mirror_from_growing(kube: Kube, name: str) -> None:
    """Kubernetes takes over none that has another controller, and they stay their owner's."""
    a_bound_mirror(kube, name, growing=True)
    theirs = kube.create(resources.CONFIG_MAP, {"metadata": {"name": name}})["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": theirs, "controller": True}
    for claim in claims(name):
        kube.patch(resources.CLAIM, claim, {"metadata": {"ownerReferences": [owner]}})
    before = uids(kube, name)
    grow(kube, name, "30Gi")
    until(lambda: template(kube, name) == "30Gi", why="the template follows")
    assert uids(kube, name) == before
    for claim in claims(name):
        assert [each["uid"] for each in kube.get(resources.CLAIM, claim)["metadata"]["ownerReferences"]] == [theirs]


def test_a_class_that_cannot_grow_is_told_and_nothing_is_touched(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=False)
    before = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]
    grow(kube, name, "30Gi")
    told = kube.until_condition(name, "StorageResized", "False", "ResizeRefused")
    assert told.startswith("30Gi cannot be granted, all claims stay as they are: ")
    assert "storageclass" in told.lower()
    assert asked(kube, name) == ["20Gi", "20Gi"]
    after = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert ("Warning", "ResizeRefused") in {each[:2] for each in until(lambda: kube.events(name), why="Events")}
    assert grow(kube, name, "20Gi").endswith(" patched\n")
    kube.until_condition(name, "StorageResized", "True", "Granted")


def test_pending_claims_are_made_again_with_the_new_size(kube: Kube, name: str) -> None:
    kube.mirror(one(name).on_class("nobody-makes-volumes-of-this"))
    until(lambda: asked(kube, name) == ["20Gi", "20Gi"], why="both claims are there, unbound")
    grow(kube, name, "25Gi")
    until(lambda: asked(kube, name) == ["25Gi", "25Gi"], why="both claims were made again")
    assert template(kube, name) == "25Gi"
    grow(kube, name, "10Gi")
    until(lambda: asked(kube, name) == ["10Gi", "10Gi"], why="nothing was granted, so it may go down too")


def test_claims_that_must_not_be_deleted_are_told_and_all_else_of_the_mirror_is_kept(kube: Kube, name: str) -> None:
    """Somebody's policy protects those that are Pending, which cannot grow but by being made again."""
    kube.mirror(one(name).on_class("nobody-makes-volumes-of-this"))
    until(lambda: asked(kube, name) == ["20Gi", "20Gi"], why="both claims are there, unbound")
    claim = claims(name)[0]
    policies.refuse(kube, name, policies.rule("", "persistentvolumeclaims", "DELETE", name=claim))
    path = resources.CLAIM.path(NAMESPACE, claim)
    until(lambda: kube.http.delete(path, params={"dryRun": "All"}).is_error, why="the policy is in force")
    grow(kube, name, "30Gi")
    told = kube.until_condition(name, "StorageResized", "False", "ResizeRefused")
    assert told.startswith("The claims cannot be brought to 30Gi: ")
    service = f"registry-mirror-{name}"
    kube.delete(resources.SERVICE, service)
    kube.until_there(resources.SERVICE, service)
    policies.lift(kube, name)
    until(lambda: asked(kube, name) == ["30Gi", "30Gi"], why="both claims were made again", seconds=90)


def test_a_claim_that_cannot_be_made_again_is_not_asked_for_in_a_loop(shared: Running, name: str) -> None:
    """A quota refuses it: Kubernetes is made to look at the StatefulSet ever more rarely, and tries by itself."""
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
    until(lambda: len(asked(kube, name)) < 2 and template(kube, name) == "40Gi", why="a claim cannot be made again")

    def looked() -> list[Json]:
        lines = log_of(shared, "controller")
        return [line for line in lines if line.get("mirror") == name and line.get("why") == "ClaimsRenewing"]

    before = len(looked())
    until(lambda: len(looked()) > before + 1, why="it is looked at now and then", seconds=30)
    patched = [line["objectRef"]["resource"] for line in audited(shared, "patch", f"registry-mirror-{name}")]
    assert 1 <= patched.count("statefulsets") <= 3
    kube.delete(QUOTA, name)


def test_scaled_to_nothing_and_back_while_the_claims_go_it_gets_pods_again(own: Running) -> None:
    """Kubernetes looks at the StatefulSet while the claims are going, makes no pod, and has no reason to look again."""
    kube, name, child = own.kube, "scaled", "registry-mirror-scaled"

    def counted() -> int:
        return int(kube.get(resources.STATEFUL_SET, child)["status"].get("replicas") or 0)

    def looked() -> bool:
        live = kube.get(resources.STATEFUL_SET, child)
        return bool(
            live["spec"]["replicas"] == 2 and live["status"]["observedGeneration"] == live["metadata"]["generation"]
        )

    kube.mirror(one(name).on_class("nobody-makes-volumes-of-this"))
    kube.until_there(resources.STATEFUL_SET, child)
    until(lambda: counted() == 2 and len(uids(kube, name)) == 2, why="pods and claims are there")
    own.system.processes.stop(["controller"])
    before = uids(kube, name)
    for claim in before:
        kube.patch(resources.CLAIM, claim, {"metadata": {"finalizers": ["example.com/hold"]}})
    kube.patch(resources.STATEFUL_SET, child, {"spec": {"replicas": 0}})
    until(lambda: not uids(kube, name) and not counted(), why="the pods are gone, and the claims are going")
    own.system.start_controller()
    until(looked, why="it is scaled back, and Kubernetes has looked")
    for claim in before:
        kube.patch(resources.CLAIM, claim, {"metadata": {"finalizers": None}})
    until(lambda: len(uids(kube, name)) == 2 and counted() == 2, why="claims and pods are made again")
    assert not set(uids(kube, name).values()) & set(before.values())


def test_a_claim_that_a_person_made_before_is_used_told_and_left_alone(shared: Running, name: str) -> None:
    """It is there, so Kubernetes is not made to look at the StatefulSet; and what it has counts."""
    kube = shared.kube
    a_storage_class(kube, name, growing=True)
    volumes(kube, name, [f"{name}-0"], "10Gi")
    volumes(kube, name, [f"{name}-1"], "20Gi")
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": name, "resources": {"requests": {"storage": "10Gi"}}}
    kube.create(resources.CLAIM, {"metadata": {"name": claims(name)[0]}, "spec": {**spec, "volumeName": f"{name}-0"}})
    kube.mirror(one(name).on_class(name).storing("20Gi"))
    told = kube.until_condition(name, "StorageResized", "False", "ClaimForeign")
    assert told.startswith(f"Claim {claims(name)[0]} does not have this mirror's labels")
    assert kube.get(resources.MIRROR, name)["status"]["storage"] == "10Gi"
    assert asked(kube, name) == ["10Gi", "20Gi"]
    live = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]
    assert RENEWED_ANNOTATION not in live.get("annotations", {})


def audited(running: Running, verb: str, name: str) -> list[Json]:
    """The audit log's entries about one object."""
    return [
        line
        for line in entries(running.cluster)
        if line["verb"] == verb and line.get("objectRef", {}).get("name") == name
    ]


def test_the_same_amount_in_another_spelling_is_no_change(kube: Kube, name: str) -> None:
    a_bound_mirror(kube, name, growing=True)
    before = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"]
    grow(kube, name, "20480Mi")
    generation = kube.get(resources.MIRROR, name)["metadata"]["generation"]
    until(lambda: kube.get(resources.MIRROR, name)["status"]["observedGeneration"] == generation, why="seen")
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["metadata"]["uid"] == before
    assert kube.condition(name, "StorageResized") == ("True", "Granted")
