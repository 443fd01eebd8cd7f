"""Test spec.cache and spec.agent on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.desired import desired_objects
from controller.objects import resources
from controller.objects.merge_patch import without_nulls
from controller.objects.user_metadata import ANNOTATION
from tests.support import strategies
from tests.support.components import (
    NODE,
    create_node,
    create_node_with_capacity,
    create_storage_class,
    create_volumes,
    pods_of,
    set_capacity,
)
from tests.support.controller import inputs, parsed
from tests.support.controller import settings as controller_settings
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror
from tests.support.placements import (
    PREFERRED,
    REQUIRED,
    WRONG_AFFINITIES,
    WRONG_RESOURCES,
    WRONG_TOLERATIONS,
    nodes,
    pods,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

INFRA = "node-role.kubernetes.io/infra"
CACHE: Json = {
    "nodeSelector": {INFRA: ""},
    "tolerations": [{"key": INFRA, "operator": "Exists"}],
    "affinity": nodes({"key": "disk", "operator": "In", "values": ["ssd"]}),
    "priorityClassName": "registrymirror",
    "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": "1000m", "memory": "1.5Gi"}},
    "labels": {"team": "platform", "empty": ""},
    "annotations": {"example.com/note": "x"},
    "trafficDistribution": "PreferClose",
}
AGENT: Json = {
    "resources": {"limits": {"memory": "0.25Gi"}},
    "priorityClassName": "registrymirror",
    "labels": {"team": "nodes"},
    "annotations": {"example.com/note": ""},
}
KINDS = (resources.SERVICE, resources.STATEFUL_SET, resources.DAEMON_SET)


def one(name: str) -> MirrorBuilder:
    """Return a mirror with host names of its own."""
    return a_mirror().named(name).of(f"{name}.example.com")


def child(kube: Kube, kind: Kind, name: str) -> Json:
    """Return an object of the mirror."""
    return kube.until_there(kind, f"registry-mirror-{name}")


def pod(kube: Kube, kind: Kind, name: str) -> Json:
    """Return the pod in a template of the mirror."""
    found: Json = child(kube, kind, name)["spec"]["template"]["spec"]
    return found


def metadata(kube: Kube, kind: Kind, name: str) -> Json:
    """Return the metadata with the labels and annotations of the user."""
    found = child(kube, kind, name)
    chosen: Json = found["metadata"] if kind is resources.SERVICE else found["spec"]["template"]["metadata"]
    return chosen


def placed(kube: Kube, name: str) -> Json:
    """Return what the objects have of the fields of spec.cache."""
    spec = pod(kube, resources.STATEFUL_SET, name)
    fields = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
    found = {field: spec[field] for field in fields if field in spec}
    found["resources"] = spec["containers"][0]["resources"]
    service = child(kube, resources.SERVICE, name)["spec"]
    return found | {field: service[field] for field in ("trafficDistribution",) if field in service}


def _written(obj: Json) -> list[Json]:
    """Return when and what the controller wrote."""
    return [each for each in obj["metadata"]["managedFields"] if each["manager"] == "registrymirror-controller"]


CLASS = {"priorityClassName": "registrymirror-mirrors"}
PLAIN = {**CLASS, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}}


def test_fields_reach_objects_and_leave_them(kube: Kube, name: str) -> None:
    kube.mirror(one(name).placing_caches(**CACHE).placing_agents(**AGENT))
    until(lambda: kube.conditions(name), why="the status is written")
    expected = {field: CACHE[field] for field in ("nodeSelector", "tolerations", "affinity", "trafficDistribution")}
    stored = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1536Mi"}}
    assert placed(kube, name) == {**expected, "priorityClassName": "registrymirror", "resources": stored}
    agent = pod(kube, resources.DAEMON_SET, name)
    assert agent["priorityClassName"] == "registrymirror"
    assert agent["containers"][0]["resources"] == {"limits": {"memory": "256Mi"}}
    for kind in KINDS:
        user = AGENT if kind is resources.DAEMON_SET else CACHE
        found = metadata(kube, kind, name)
        assert user["labels"].items() <= found["labels"].items()
        assert user["annotations"].items() <= found["annotations"].items()
        assert {"app": "docker-registry", "mirror": name}.items() <= found["labels"].items()
    before = [_written(child(kube, kind, name)) for kind in KINDS]
    kube.patch(resources.MIRROR, name, {"spec": {"ttl": "1h"}})
    until(lambda: kube.conditions(name), why="the status follows")
    assert [_written(child(kube, kind, name)) for kind in KINDS] == before, "no repair"

    kube.patch(resources.MIRROR, name, {"spec": {"cache": None, "agent": None}})
    until(lambda: placed(kube, name) == PLAIN, why="all fields are removed")
    until(lambda: CLASS.items() <= pod(kube, resources.DAEMON_SET, name).items(), why="of the agents too")
    for kind in KINDS:
        found = metadata(kube, kind, name)
        assert not {"team", "empty"} & found["labels"].keys()
        assert "example.com/note" not in found.get("annotations", {})
        assert ANNOTATION not in child(kube, kind, name)["metadata"].get("annotations", {})
    assert {reason for _, reason, _ in kube.events(name)}.isdisjoint({"ConflictingWriter", "MutatedByAdmission"})


def test_part_of_a_field_is_removed(kube: Kube, name: str) -> None:
    kube.mirror(one(name).placing_caches(**CACHE))
    until(lambda: kube.conditions(name), why="the status is written")
    smaller = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": INFRA, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"podAffinity": {REQUIRED: [{"topologyKey": "zone", "namespaceSelector": {}}]}},
        "resources": {"limits": {"memory": "1Gi"}},
        "labels": {"empty": ""},
    }
    for cache in (smaller, {**smaller, "tolerations": [{"key": INFRA, "operator": "Exists"}]}):
        body = [{"op": "replace", "path": "/spec/cache", "value": cache}]
        kube.json_patch(resources.MIRROR, name, *body)
        expected = CLASS | {field: cache[field] for field in ("nodeSelector", "tolerations", "affinity", "resources")}
        until(lambda expected=expected: placed(kube, name) == expected, why=str(expected))  # type: ignore[misc]
    labels = metadata(kube, resources.STATEFUL_SET, name)["labels"]
    assert labels["empty"] == ""
    assert "team" not in labels


POD = "/spec/template/spec"
CHANGES: dict[str, Json] = {
    "another node": {"op": "replace", "path": f"{POD}/nodeSelector", "value": {"disk": "ssd"}},
    "one more label of nodes": {"op": "add", "path": f"{POD}/nodeSelector/disk", "value": "ssd"},
    "a wider toleration": {"op": "replace", "path": f"{POD}/tolerations", "value": [{"operator": "Exists"}]},
    "a time of a toleration": {
        "op": "replace",
        "path": f"{POD}/tolerations/0",
        "value": {"key": INFRA, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1},
    },
    "an affinity to pods": {
        "op": "add",
        "path": f"{POD}/affinity/podAffinity",
        "value": {REQUIRED: [{"topologyKey": "zone", "labelSelector": {}}]},
    },
    "no affinity": {"op": "remove", "path": f"{POD}/affinity"},
    "a higher limit": {"op": "replace", "path": f"{POD}/containers/0/resources/limits/memory", "value": "9Gi"},
    "one more limit": {"op": "add", "path": f"{POD}/containers/0/resources/limits/ephemeral-storage", "value": "1Mi"},
    "another class": {"op": "remove", "path": f"{POD}/priorityClassName"},
    "another label": {"op": "replace", "path": "/spec/template/metadata/labels/team", "value": "x"},
    "no annotation": {"op": "remove", "path": "/spec/template/metadata/annotations/example.com~1note"},
    "no record": {"op": "remove", "path": f"/metadata/annotations/{ANNOTATION.replace('/', '~1')}"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_field_is_repaired(kube: Kube, name: str, change: str) -> None:
    kube.mirror(one(name).placing_caches(**CACHE))
    until(lambda: kube.conditions(name), why="the status is written")
    before = child(kube, resources.STATEFUL_SET, name)
    kube.json_patch(resources.STATEFUL_SET, f"registry-mirror-{name}", CHANGES[change])

    def is_repaired() -> bool:
        found = child(kube, resources.STATEFUL_SET, name)
        same_record = found["metadata"].get("annotations") == before["metadata"]["annotations"]
        return same_record and bool(found["spec"]["template"] == before["spec"]["template"])

    until(is_repaired, why="repaired")
    until(lambda: "Repaired" in {reason for _, reason, _ in kube.events(name)}, why="an Event")


def test_keys_of_other_writers_stay(kube: Kube, name: str) -> None:
    """`kubectl rollout restart` adds an annotation to the template."""
    kube.mirror(one(name).placing_caches(labels={"team": "a"}))
    child(kube, resources.STATEFUL_SET, name)
    kube.kubectl("rollout", "restart", f"statefulset/registry-mirror-{name}", "-n", NAMESPACE)
    restarted = metadata(kube, resources.STATEFUL_SET, name)["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in restarted
    kube.patch(resources.MIRROR, name, {"spec": {"cache": {"labels": {"team": None, "tier": "b"}}}})
    until(lambda: "tier" in metadata(kube, resources.STATEFUL_SET, name)["labels"], why="it is applied")
    found = metadata(kube, resources.STATEFUL_SET, name)
    assert "team" not in found["labels"]
    assert found["annotations"] == restarted


def test_apply_names_all_mistakes(kube: Kube, name: str) -> None:
    wrong = one(name).placing_caches(
        nodeSelector={INFRA: True},
        tolerations=[{"key": INFRA, "effect": "NoSched"}],
        affinity=nodes({"key": "disk", "operator": "In"}),
        resources={"limits": {"memory": "1 Gi"}},
        labels={"app": "mine"},
        annotations={"k8s.osp.tech/cleaning": "x"},
        trafficDistribution="Close",
    )
    printed = kube.kubectl("apply", "-f", "-", stdin=wrong.placing_agents(labels={"team": "a b"}).raw())
    assert sorted(line.split(": ")[0] for line in printed.splitlines()[1:]) == [
        "* spec.agent.labels.team",
        f"* spec.cache.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]",
        '* spec.cache.annotations["k8s.osp.tech/cleaning"]',
        "* spec.cache.labels.app",
        '* spec.cache.nodeSelector["node-role.kubernetes.io/infra"]',
        "* spec.cache.resources.limits.memory",
        "* spec.cache.tolerations[0].effect",
        "* spec.cache.trafficDistribution",
    ]
    unknown = one(name).placing_caches(tolerations=[{"key": "a", "effekt": "NoSchedule"}])
    printed = kube.kubectl("apply", "-f", "-", stdin=unknown.raw())
    assert 'unknown field "spec.cache.tolerations[0].effekt"' in printed
    assert kube.find(resources.MIRROR, name) is None


def test_refusal_of_api_server_is_named(kube: Kube, name: str) -> None:
    """The API server checks the content of some annotations."""
    annotations = {"scheduler.alpha.kubernetes.io/tolerations": "wrong"}
    kube.mirror(one(name).placing_caches(annotations=annotations))
    message = kube.until_condition(name, "Reconciled", "False", "ApplyFailed")
    assert "scheduler.alpha.kubernetes.io/tolerations" in message
    assert kube.condition(name, "Ready") == ("False", "ApplyFailed")
    child(kube, resources.DAEMON_SET, name)
    kube.patch(resources.MIRROR, name, {"spec": {"cache": None}})
    child(kube, resources.STATEFUL_SET, name)


def _reviewed(kube: Kube, kind: Kind, body: Json, **query: str) -> tuple[int, str]:
    """Return the status and the message of the API server for a dry run."""
    path, namespace = kind.path("default"), {**body.get("metadata", {}), "namespace": "default"}
    answer = kube.http.post(path, json={**body, "metadata": namespace}, params={"dryRun": "All", **query})
    return answer.status_code, answer.json().get("message", "")


WRONG_PODS: list[Json] = [
    *({"affinity": affinity} for affinity, sentence in WRONG_AFFINITIES),
    *({"tolerations": [toleration]} for toleration, _ in WRONG_TOLERATIONS),
    *({"resources": wrong} for wrong, _ in WRONG_RESOURCES),
]
# The API server accepts these, and they are without effect, or the pod stays pending.
STRICTER: list[Json] = [
    {"affinity": nodes({"key": "a", "operator": "Lt", "values": ["x"]})},
    {"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 1}]}}},
    {"affinity": pods(labelSelector={"matchLabels": {"a": "b"}}, matchLabelKeys=["a"])},
]


@pytest.mark.parametrize("wrong", WRONG_PODS, ids=str)
def test_api_server_refuses_what_webhook_refuses(kube: Kube, wrong: Json) -> None:
    """Otherwise the webhook would refuse useful placements."""
    container = {"name": "c", "image": "x", **{key: value for key, value in wrong.items() if key == "resources"}}
    rest = {key: value for key, value in wrong.items() if key != "resources"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried"},
        "spec": {"containers": [container], **rest},
    }
    status, message = _reviewed(kube, resources.POD, body)
    assert status == 201 if wrong in STRICTER else status in (400, 422), message


@given(strategies.mirrors(), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_api_server_accepts_what_webhook_accepts(kube: Kube, builder: MirrorBuilder, whole: bool) -> None:  # noqa: FBT001
    """No field of an accepted mirror is refused later, or unknown."""
    variables = {"HOSTESS_NODE_SELECTOR": "a in (b,c),!d,e>5"} if whole else {}
    for kind, body in desired_objects(parsed(builder), controller_settings(**variables), inputs()):
        owned = without_nulls(body)
        status, message = _reviewed(kube, kind, owned, fieldValidation="Strict")
        assert status == 201, f"{kind.name}: {message}\n{yaml.safe_dump(owned)}"


@pytest.fixture
def own(fresh: Callable[..., Running]) -> Running:
    """Return a cluster of its own: nodes affect every mirror of a cluster."""
    running = fresh()
    running.system.start()
    return running


def test_caches_run_on_infra_nodes(own: Running) -> None:
    kube = own.kube
    for node in ("worker-1", "worker-2"):
        create_node_with_capacity(kube, node)
    for node in ("infra-1", "infra-2"):
        create_node(kube, node, {"key": INFRA, "effect": "NoSchedule"}, **{INFRA: ""})
        set_capacity(kube, node, pods=100)
    create_storage_class(kube, "by-hand", growing=False)
    create_volumes(kube, "by-hand", ["one", "two"], "20Gi")
    placement = {"nodeSelector": {INFRA: ""}, "tolerations": [{"key": INFRA, "operator": "Exists"}]}
    kube.mirror(a_mirror().on_class("by-hand").placing_caches(**placement))

    def bound(component: str) -> list[str]:
        return sorted(each["spec"].get("nodeName", "") for each in pods_of(kube, "docker", component))

    until(lambda: bound("registry") == ["infra-1", "infra-2"], why="one cache pod on each infra node")
    everywhere = sorted(each["metadata"]["name"] for each in kube.every(NODE))
    until(lambda: bound("hostess-certificate") == everywhere, why="agents on all nodes")
