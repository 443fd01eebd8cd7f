"""Test the objects of a mirror: creation, repair, update, adoption and deletion."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.support.kube import NAMESPACE, Kube, account_keys, text, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from controller.objects.resources import Kind

CHILDREN = (
    (resources.SECRET, ""),
    (resources.SERVICE, ""),
    (resources.SERVICE, "-headless"),
    (resources.BUDGET, ""),
    (resources.STATEFUL_SET, ""),
    (resources.DAEMON_SET, ""),
)


def one(name: str) -> MirrorBuilder:
    """Return a mirror with host names of its own."""
    return a_mirror().named(name).of(f"{name}.example.com")


def made(kube: Kube, name: str) -> None:
    """Wait until all objects and the status of a mirror exist."""
    for kind, suffix in CHILDREN:
        kube.until_there(kind, f"registry-mirror-{name}{suffix}")
    until(lambda: kube.conditions(name), why="status is written")


def configuration(kube: Kube, name: str) -> Json:
    """Return the configuration of the cache."""
    parsed: Json = json.loads(text(kube.get(resources.SECRET, f"registry-mirror-{name}"), "config.json"))
    return parsed


def credentials(kube: Kube, name: str) -> list[str]:
    """Return username and password of the cache; empty if it pulls anonymously."""
    secret = kube.get(resources.SECRET, f"registry-mirror-{name}")
    return [text(secret, key) for key in account_keys(secret)]


def test_mirror_owns_its_objects(kube: Kube, name: str) -> None:
    mirror = kube.mirror(one(name).of("quay.io"))
    made(kube, name)
    for kind, suffix in CHILDREN:
        current = kube.get(kind, f"registry-mirror-{name}{suffix}")
        assert {"app": "docker-registry", "mirror": name}.items() <= current["metadata"]["labels"].items()
        (owner,) = current["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("RegistryMirror", name, mirror["metadata"]["uid"])
        assert owner["controller"] is True
        (wrote,) = {
            each["manager"]
            for each in current["metadata"]["managedFields"]
            if "status" not in each.get("subresource", "")
        }
        assert wrote == "registrymirror-controller"


def test_label_selects_whole_mirror(kube: Kube, name: str) -> None:
    """The seed: `kubectl get ds,statefulset,svc,registrymirror -l mirror=<name> -n <namespace>`."""
    kube.mirror(one(name))
    made(kube, name)
    shown = kube.kubectl(
        "get", "ds,statefulset,svc,registrymirror", "-l", f"mirror={name}", "-n", NAMESPACE, "-o", "name"
    )
    assert sorted(shown.split()) == [
        f"daemonset.apps/registry-mirror-{name}",
        f"registrymirror.k8s.osp.tech/{name}",
        f"service/registry-mirror-{name}",
        f"service/registry-mirror-{name}-headless",
        f"statefulset.apps/registry-mirror-{name}",
    ]


def test_service_selects_cache_pods(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    made(kube, name)
    until(lambda: len(kube.every(resources.POD, labelSelector=f"mirror={name},component=registry")) == 2, why="pods")
    spec = kube.get(resources.SERVICE, f"registry-mirror-{name}")["spec"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in spec["ports"]] == [("https", 443, 5000)]
    assert spec["sessionAffinity"] == "ClientIP"
    assert {"app": "docker-registry", "mirror": name, "component": "registry"}.items() <= spec["selector"].items()
    pods = kube.every(
        resources.POD, labelSelector=",".join(f"{key}={value}" for key, value in spec["selector"].items())
    )
    assert {pod["metadata"]["name"] for pod in pods} == {f"registry-mirror-{name}-{number}" for number in (0, 1)}
    assert kube.get(resources.SERVICE, f"registry-mirror-{name}-headless")["spec"]["clusterIP"] == "None"


def test_status_has_upstream_and_masquerade(kube: Kube, name: str) -> None:
    kube.mirror(one(name).of("hub.docker.io").known_as(f"{name}.docker.io"))
    made(kube, name)
    status = kube.get(resources.MIRROR, name)["status"]
    assert status["upstream"] == "https://registry-1.docker.io"
    assert status["masqueradeUrl"] == f"{name}.docker.io"
    assert status["clusterIPs"] == kube.get(resources.SERVICE, f"registry-mirror-{name}")["spec"]["clusterIPs"]


def test_masquerade_defaults_to_upstream(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    until(
        lambda: kube.get(resources.MIRROR, name).get("status", {}).get("masqueradeUrl") == f"mirror-{name}.example.com",
        why="implied",
    )
    kube.patch(resources.MIRROR, name, {"spec": {"upstreamUrl": f"{name}.example.org"}})
    until(
        lambda: kube.get(resources.MIRROR, name)["status"]["masqueradeUrl"] == f"mirror-{name}.example.org",
        why="followed",
    )
    assert "masqueradeUrl" not in kube.get(resources.MIRROR, name)["spec"]
    environment = kube.get(resources.DAEMON_SET, f"registry-mirror-{name}")["spec"]["template"]["spec"]["containers"][
        0
    ]["env"]
    assert {"name": "SHADOW_FQDN", "value": f"mirror-{name}.example.org"} in environment


def test_changed_upstream_restarts_no_pod(kube: Kube, name: str) -> None:
    """The seed: "If you wish to update the secret or URL, all you need to do is change it"."""
    kube.mirror(one(name).of("quay.io"))
    made(kube, name)
    template = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["spec"]["template"]
    url = "http://registry.example.com:5000"
    kube.patch(resources.MIRROR, name, {"spec": {"upstreamUrl": url}})
    until(lambda: configuration(kube, name)["upstreams"][0]["url"] == url, why="the configuration follows")
    until(lambda: kube.conditions(name), why="the status follows")
    assert [each["host"] for each in configuration(kube, name)["upstreams"]] == ["registry.example.com:5000"]
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["spec"]["template"] == template


def test_replicas_are_peers(kube: Kube, name: str) -> None:
    kube.mirror(one(name).replicated(1))
    made(kube, name)
    assert configuration(kube, name)["peers"] is None
    kube.patch(resources.MIRROR, name, {"spec": {"replicas": 3}})
    child = f"registry-mirror-{name}"
    members = {
        f"{child}-{number}": f"https://{child}-{number}.{child}-headless.{NAMESPACE}.svc:5000" for number in range(3)
    }
    until(lambda: (configuration(kube, name)["peers"] or {}).get("members") == members, why="all are named")
    assert configuration(kube, name)["peers"]["serverName"] == f"mirror-{name}.example.com"


def test_credentials_change_without_restart(kube: Kube, name: str) -> None:
    kube.mirror(one(name).logging_in_with(f"{name}-login"))
    made(kube, name)
    message = kube.until_condition(name, "CredentialsAvailable", "False", "SecretMissing")
    assert message.startswith(f"Secret {NAMESPACE}/{name}-login does not exist. The cache pulls anonymously.")
    assert credentials(kube, name) == []
    template = kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["spec"]["template"]

    kube.secret(f"{name}-login", username="puller")
    kube.until_condition(name, "CredentialsAvailable", "False", "SecretIncomplete")
    assert credentials(kube, name) == []
    kube.patch(resources.SECRET, f"{name}-login", {"stringData": {"password": "#hash: {ü}"}})
    kube.until_condition(name, "CredentialsAvailable", "True", "Found")
    assert credentials(kube, name) == ["puller", "#hash: {ü}"]

    kube.patch(resources.SECRET, f"{name}-login", {"stringData": {"password": "another"}})
    until(lambda: credentials(kube, name)[1] == "another", why="a changed password is followed")
    kube.delete(resources.SECRET, f"{name}-login")
    kube.until_condition(name, "CredentialsAvailable", "False", "SecretMissing")
    assert credentials(kube, name) == []
    assert kube.get(resources.STATEFUL_SET, f"registry-mirror-{name}")["spec"]["template"] == template
    reasons = {(kind, reason) for kind, reason, _ in kube.events(name)}
    assert {("Warning", "SecretMissing"), ("Normal", "Found")} <= reasons


def test_credentials_may_have_any_bytes(kube: Kube, name: str) -> None:
    data = {"username": base64.b64encode(b"puller").decode(), "password": base64.b64encode(b"\xff\x00 \n").decode()}
    kube.create(resources.SECRET, {"metadata": {"name": f"{name}-login"}, "data": data})
    kube.mirror(one(name).logging_in_with(f"{name}-login"))
    kube.until_condition(name, "CredentialsAvailable", "True", "Found")
    secret = kube.get(resources.SECRET, f"registry-mirror-{name}")
    assert [secret["data"][key] for key in account_keys(secret)] == [data["username"], data["password"]]


@pytest.mark.parametrize(("kind", "suffix"), CHILDREN, ids=lambda value: getattr(value, "name", value))
def test_deleted_object_is_created_again(kube: Kube, name: str, kind: Kind, suffix: str) -> None:
    kube.mirror(one(name))
    made(kube, name)
    child = f"registry-mirror-{name}{suffix}"
    uid = kube.get(kind, child)["metadata"]["uid"]
    kube.delete(kind, child)
    until(lambda: (kube.find(kind, child) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, why="created again")
    until(
        lambda: ("Normal", "Created", f"Created {kind.name} {child}, which was missing.") in kube.events(name),
        why="an Event tells",
    )


POD = "/spec/template/spec"
EDITS: dict[str, tuple[Kind, str, list[Json]]] = {
    "a changed Service port": (resources.SERVICE, "", [{"op": "replace", "path": "/spec/ports/0/port", "value": 8443}]),
    "an added Service port": (
        resources.SERVICE,
        "",
        [{"op": "add", "path": "/spec/ports/-", "value": {"name": "more", "port": 81, "protocol": "TCP"}}],
    ),
    "a changed Service selector": (
        resources.SERVICE,
        "",
        [{"op": "replace", "path": "/spec/selector/mirror", "value": "other"}],
    ),
    "a changed target port of the headless Service": (
        resources.SERVICE,
        "-headless",
        [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}],
    ),
    "changed replicas": (resources.STATEFUL_SET, "", [{"op": "replace", "path": "/spec/replicas", "value": 7}]),
    "an added container": (
        resources.STATEFUL_SET,
        "",
        [{"op": "add", "path": f"{POD}/containers/-", "value": {"name": "miner", "image": "miner"}}],
    ),
    "an added variable": (
        resources.STATEFUL_SET,
        "",
        [
            {
                "op": "add",
                "path": f"{POD}/containers/0/env",
                "value": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}],
            }
        ],
    ),
    "a changed image": (
        resources.STATEFUL_SET,
        "",
        [{"op": "replace", "path": f"{POD}/containers/0/image", "value": "other"}],
    ),
    "a removed security context": (
        resources.STATEFUL_SET,
        "",
        [{"op": "remove", "path": f"{POD}/containers/0/securityContext"}],
    ),
    "an added init container": (
        resources.DAEMON_SET,
        "",
        [{"op": "add", "path": f"{POD}/initContainers", "value": [{"name": "i", "image": "i"}]}],
    ),
    "an added volume": (
        resources.DAEMON_SET,
        "",
        [{"op": "add", "path": f"{POD}/volumes/-", "value": {"name": "root", "hostPath": {"path": "/"}}}],
    ),
    "the node's network": (resources.STATEFUL_SET, "", [{"op": "add", "path": f"{POD}/hostNetwork", "value": True}]),
    "an added capability": (
        resources.DAEMON_SET,
        "",
        [{"op": "add", "path": f"{POD}/containers/0/securityContext/capabilities/add", "value": ["SYS_ADMIN"]}],
    ),
    "other arguments": (resources.DAEMON_SET, "", [{"op": "add", "path": f"{POD}/containers/0/args", "value": ["x"]}]),
    "another account": (
        resources.STATEFUL_SET,
        "",
        [{"op": "add", "path": f"{POD}/serviceAccountName", "value": "registrymirror-controller"}],
    ),
    "a priority": (
        resources.STATEFUL_SET,
        "",
        [{"op": "add", "path": f"{POD}/priorityClassName", "value": "system-node-critical"}],
    ),
    "a budget that blocks drains": (
        resources.BUDGET,
        "",
        [{"op": "remove", "path": "/spec/maxUnavailable"}, {"op": "add", "path": "/spec/minAvailable", "value": 2}],
    ),
    "a Service for the world": (
        resources.SERVICE,
        "",
        [
            {"op": "replace", "path": "/spec/type", "value": "LoadBalancer"},
            {"op": "add", "path": "/spec/loadBalancerSourceRanges", "value": ["0.0.0.0/0"]},
        ],
    ),
    "removed labels": (resources.DAEMON_SET, "", [{"op": "remove", "path": "/metadata/labels"}]),
    "a removed owner": (resources.DAEMON_SET, "", [{"op": "remove", "path": "/metadata/ownerReferences"}]),
    "a changed Secret": (resources.SECRET, "", [{"op": "replace", "path": "/data/config.json", "value": "eA=="}]),
    "a changed budget": (resources.BUDGET, "", [{"op": "replace", "path": "/spec/maxUnavailable", "value": 2}]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edit_is_repaired(kube: Kube, name: str, edit: str) -> None:
    kind, suffix, operations = EDITS[edit]
    child = f"registry-mirror-{name}{suffix}"
    kube.mirror(one(name))
    made(kube, name)
    before = kube.get(kind, child)
    kube.json_patch(kind, child, *operations)
    until(lambda: _same(kube.get(kind, child), before), why=f"{edit} is repaired")
    assert kube.get(kind, child)["metadata"]["uid"] == before["metadata"]["uid"]


def _same(current: Json, before: Json) -> bool:
    keys = ("labels", "ownerReferences")
    metadata = all(current["metadata"].get(key) == before["metadata"].get(key) for key in keys)
    return metadata and current.get("spec") == before.get("spec") and current.get("data") == before.get("data")


def test_foreign_additions_stay(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    made(kube, name)
    child = f"registry-mirror-{name}"
    kube.patch(resources.SERVICE, child, {"metadata": {"annotations": {"team": "storage"}, "labels": {"cost": "7"}}})
    kube.patch(resources.SERVICE, child, {"spec": {"sessionAffinity": "None"}})
    until(lambda: kube.get(resources.SERVICE, child)["spec"]["sessionAffinity"] == "ClientIP", why="ours is repaired")
    metadata = kube.get(resources.SERVICE, child)["metadata"]
    assert (metadata["annotations"]["team"], metadata["labels"]["cost"]) == ("storage", "7")


def test_not_owned_object_stays(kube: Kube, name: str) -> None:
    child = f"registry-mirror-{name}"
    owner = kube.create(resources.SECRET, {"metadata": {"name": f"{name}-owner"}})
    reference = {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": f"{name}-owner",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    port = {"ports": [{"port": 80}]}
    foreign = kube.create(
        resources.SERVICE, {"metadata": {"name": child, "ownerReferences": [reference]}, "spec": port}
    )
    kube.mirror(one(name))
    message = kube.until_condition(name, "CacheAvailable", "False", "ObjectNotOwned")
    advice = "Delete it, or create the mirror under another name."
    assert message == f"Service {child} belongs to Secret {name}-owner. {advice}"
    assert kube.get(resources.SERVICE, child)["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"]
    kube.delete(resources.SERVICE, child)
    until(
        lambda: kube.condition(name, "CacheAvailable")[1] == "NoReplicaReady",
        why="ours is created once the name is free",
    )


def test_unlabelled_object_is_not_owned(kube: Kube, name: str) -> None:
    kube.create(
        resources.SECRET, {"metadata": {"name": f"registry-mirror-{name}"}, "stringData": {"config.json": "mine"}}
    )
    kube.mirror(one(name))
    message = kube.until_condition(name, "CacheAvailable", "False", "ObjectNotOwned")
    assert f"Secret registry-mirror-{name} has no owner and not our labels" in message
    assert kube.find(resources.STATEFUL_SET, f"registry-mirror-{name}") is None, (
        "no pod mounts a Secret of another owner"
    )


def test_labelled_orphan_is_adopted(kube: Kube, name: str) -> None:
    """Orphans come from restored backups, orphaned deletions and old installations.

    The StatefulSet is replaced around its pods, as its claim template names the former mirror.
    """
    kube.mirror(one(name))
    made(kube, name)
    uid = kube.get(resources.DAEMON_SET, f"registry-mirror-{name}")["metadata"]["uid"]
    kube.delete(resources.MIRROR, name, propagationPolicy="Orphan")
    kube.until_gone(resources.MIRROR, name)
    mirror = kube.mirror(one(name))

    def adopted() -> bool:
        found = [kube.find(kind, f"registry-mirror-{name}") for kind in (resources.DAEMON_SET, resources.STATEFUL_SET)]
        owners = [owner["uid"] for each in found if each for owner in each["metadata"].get("ownerReferences", [])]
        return owners == [mirror["metadata"]["uid"]] * 2

    until(adopted, why="the new mirror owns the objects")
    assert kube.get(resources.DAEMON_SET, f"registry-mirror-{name}")["metadata"]["uid"] == uid


def test_orphan_with_other_selector_is_replaced(kube: Kube, name: str) -> None:
    child = f"registry-mirror-{name}"
    labels = {"app": "docker-registry", "mirror": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x.example.com/x"}]}}
    spec = {"selector": {"matchLabels": labels}, "serviceName": child, "template": pod}
    old = kube.create(resources.STATEFUL_SET, {"metadata": {"name": child, "labels": labels}, "spec": spec})
    kube.mirror(one(name))

    def replaced() -> bool:
        current = kube.find(resources.STATEFUL_SET, child) or old
        return bool(current["metadata"]["uid"] != old["metadata"]["uid"])

    until(replaced, why="the old StatefulSet is replaced")
    selector = kube.get(resources.STATEFUL_SET, child)["spec"]["selector"]["matchLabels"]
    assert selector == {**labels, "component": "registry"}


def test_immutable_secret_is_replaced_for_new_content(kube: Kube, name: str) -> None:
    child = f"registry-mirror-{name}"
    kube.mirror(one(name))
    made(kube, name)
    uid = kube.patch(resources.SECRET, child, {"immutable": True, "metadata": {"labels": {"app": "x"}}})["metadata"][
        "uid"
    ]
    until(
        lambda: kube.get(resources.SECRET, child)["metadata"]["labels"]["app"] != "x", why="mutable fields are repaired"
    )
    assert kube.get(resources.SECRET, child)["metadata"]["uid"] == uid
    kube.patch(resources.MIRROR, name, {"spec": {"ttl": "1h"}})
    until(
        lambda: (kube.find(resources.SECRET, child) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid,
        why="replaced for the changed configuration",
    )


def test_deletion_leaves_nothing(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    made(kube, name)
    for ordinal in (0, 1):
        kube.until_there(resources.CLAIM, f"image-store-registry-mirror-{name}-{ordinal}")
    kube.kubectl("delete", "rm", name)
    for kind, suffix in CHILDREN:
        kube.until_gone(kind, f"registry-mirror-{name}{suffix}")
    for ordinal in (0, 1):
        kube.until_gone(resources.CLAIM, f"image-store-registry-mirror-{name}-{ordinal}")


def test_older_mirror_keeps_masquerade_url(kube: Kube, name: str) -> None:
    host = f"{name}.example.com"
    older, younger = f"{name}-z", f"{name}-a"
    kube.mirror(one(older).known_as(host))
    made(kube, older)
    kube.until_next_second(older)
    kube.mirror(one(younger).known_as(host))
    message = kube.until_condition(younger, "NodesConfigured", "False", "MasqueradeConflict")
    assert message == (
        f"RegistryMirror {older} is older and has the same masqueradeUrl, {host}."
        f" Set another spec.masqueradeUrl, or delete {older}."
    )
    kube.until_there(resources.STATEFUL_SET, f"registry-mirror-{younger}")
    assert kube.find(resources.DAEMON_SET, f"registry-mirror-{younger}") is None
    kube.patch(resources.MIRROR, older, {"spec": {"masqueradeUrl": f"other-{host}"}})
    kube.until_there(resources.DAEMON_SET, f"registry-mirror-{younger}")
    kube.patch(resources.MIRROR, older, {"spec": {"masqueradeUrl": host}})
    kube.until_gone(resources.DAEMON_SET, f"registry-mirror-{younger}")
    kube.delete(resources.MIRROR, older)
    kube.until_there(resources.DAEMON_SET, f"registry-mirror-{younger}")


def test_repeated_edits_are_no_conflict(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    made(kube, name)
    for replicas in (3, 4, 5, 6, 7, 8, 9):
        kube.patch(resources.MIRROR, name, {"spec": {"replicas": replicas}})
        _has_replicas(kube, name, replicas)
    assert "ConflictingWriter" not in {reason for _, reason, _ in kube.events(name)}


def _has_replicas(kube: Kube, name: str, replicas: int) -> None:
    current = f"registry-mirror-{name}"
    until(lambda: kube.get(resources.STATEFUL_SET, current)["spec"]["replicas"] == replicas, why="followed", seconds=10)
