"""Test the migration from mirror-operator: start from its objects, and end with ours."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from common import names
from controller.objects import resources
from controller.settings import FORMER
from tests.localcluster.cluster import Cluster
from tests.localcluster.system import REPOSITORY
from tests.support.components import create_storage_class, create_volumes, pods_of, set_pod_ready
from tests.support.faults import log_of, one
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.types import Json
    from tests.cluster.conftest import Running

    Objects = dict[tuple[resources.Kind, str], Json]

NAME = "former"
CHILD = f"registry-mirror-{NAME}"
LABELS = {"app": "docker-registry", "mirror": NAME}
PRUNED = (("DaemonSet", "utils"), ("Secret", "secret"))
CLAIMS = [f"image-store-{CHILD}-{ordinal}" for ordinal in (0, 1)]


def created(kube: Kube, mirror: Json) -> Objects:
    """Create the objects that mirror-operator made for a mirror. Its owner references name no controller."""
    owner = {key: mirror[key] for key in ("apiVersion", "kind")} | {
        key: mirror["metadata"][key] for key in ("name", "uid")
    }
    metadata: Json = {"labels": LABELS, "ownerReferences": [owner]}
    pods = {**LABELS, "component": "registry"}
    container = {"name": "registry", "image": "registry.example.com/nginx:1"}
    template = {"metadata": {"labels": pods}, "spec": {"containers": [container]}}
    claim = {
        "metadata": {"name": "image-store"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand",
            "resources": {"requests": {"storage": "20Gi"}},
        },
    }
    # In parallel, so that both claims exist without a kubelet.
    spec: Json = {
        "replicas": 2,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": pods},
        "template": template,
    }
    ports = [{"name": "https", "port": 443, "targetPort": 5000}]
    bodies: list[tuple[resources.Kind, str, Json]] = [
        (resources.SECRET, f"{CHILD}-secret", {"stringData": {"username": "robot", "password": "x"}}),
        (resources.SERVICE, CHILD, {"spec": {"selector": pods, "ports": ports}}),
        (resources.SERVICE, f"{CHILD}-headless", {"spec": {"selector": pods, "clusterIP": "None", "ports": ports}}),
        (
            resources.STATEFUL_SET,
            CHILD,
            {"spec": {**spec, "serviceName": f"{CHILD}-headless", "volumeClaimTemplates": [claim]}},
        ),
        (resources.DAEMON_SET, f"{CHILD}-utils", {"spec": _agents()}),
    ]
    made = ((kind, name, {"metadata": {"name": name, **metadata}, **body}) for kind, name, body in bodies)
    return {(kind, name): kube.create(kind, body) for kind, name, body in made}


def _agents() -> Json:
    labels = {**LABELS, "component": "hostess-certificate"}
    containers = [
        {"name": "mirror-hostess", "image": "ghcr.io/ocadotechnology/mirror-hostess:1.4.0"},
        {"name": "certificate-installation", "image": "registry.example.com/alpine:3"},
    ]
    return {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    }


@pytest.fixture
def own(renewed: Callable[..., Running]) -> Running:
    """Return the cluster of this module."""
    return renewed()


@pytest.fixture
def former(own: Running) -> Objects:
    """Return the objects of mirror-operator, whose claims are bound. The controller does not run yet."""
    kube = own.kube
    own.system.processes.stop(["controller"])
    create_storage_class(kube, "by-hand", growing=True)
    create_volumes(kube, "by-hand", ["one", "two"], "20Gi")
    objects = created(kube, kube.mirror(one(NAME).on_class("by-hand").replicated(2)))
    until(lambda: len(bound(kube)) == 2, why="the claims are bound")
    return objects


def bound(kube: Kube) -> dict[str, str]:
    """Return the bound claims with their UIDs."""
    found = [kube.find(resources.CLAIM, name) for name in CLAIMS]
    return {
        each["metadata"]["name"]: each["metadata"]["uid"]
        for each in found
        if each and each.get("status", {}).get("phase") == "Bound"
    }


def test_objects_of_mirror_operator_are_taken_over(own: Running, former: Objects) -> None:
    kube, claims = own.kube, bound(own.kube)
    own.system.start_controller(**dict.fromkeys(FORMER, "x"))
    until(lambda: serves(kube), why=f"the caches are replaced; {kube.conditions(NAME)}", seconds=60)

    service, mirror = kube.get(resources.SERVICE, CHILD), kube.get(resources.MIRROR, NAME)
    assert service["spec"]["clusterIP"] == former[resources.SERVICE, CHILD]["spec"]["clusterIP"]
    (owner,) = service["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (mirror["metadata"]["uid"], True)
    assert bound(kube) == claims
    kube.until_gone(resources.DAEMON_SET, f"{CHILD}-utils")
    kube.until_gone(resources.SECRET, f"{CHILD}-secret")
    for kind in resources.CHILDREN:
        kube.get(kind, CHILD)

    pruned = {f"Deleted {kind} {CHILD}-{what}, which the mirror does not need." for kind, what in PRUNED}
    until(lambda: pruned <= notes(kube), why=f"Events; {notes(kube)}")
    until(lambda: f"Adopted Service {CHILD}, which no controller owned." in notes(kube), why=f"an Event; {notes(kube)}")

    ignored = {each["variable"] for each in log_of(own, "controller") if each["event"] == "setting ignored"}
    assert ignored == FORMER.keys()
    kube.delete(resources.MIRROR, NAME)
    kube.until_gone(resources.MIRROR, NAME)
    until(lambda: not remains(kube), why=f"nothing is left; {remains(kube)}")


def serves(kube: Kube) -> bool:
    """Report all pods as ready, as a kubelet does during the rollout. Return True if all caches are new and ready."""
    for pod in pods_of(kube, NAME, "registry"):
        with suppress(AssertionError):  # the rollout has just deleted it
            set_pod_ready(kube, pod, ready=True)
    return kube.condition(NAME, "CacheAvailable") == ("True", "AllReplicasReady")


def notes(kube: Kube) -> set[str]:
    """Return the notes of all Events of the mirror."""
    return {each[2] for each in kube.events(NAME)}


def remains(kube: Kube) -> list[str]:
    """Return the objects of the mirror."""
    kinds = (*resources.CHILDREN, resources.CLAIM)
    return [each["metadata"]["name"] for kind in kinds for each in kube.every(kind, labelSelector=f"mirror={NAME}")]


def test_mirror_with_a_former_name_keeps_its_objects(own: Running) -> None:
    """The DaemonSet of the mirror `a-utils` has the name of mirror-operator's DaemonSet of `a`."""
    kube = own.kube
    for name in ("a-utils", "a-secret", "a"):
        kube.mirror(one(name))
    for name in ("a-utils", "a-secret", "a"):
        kube.until_there(resources.DAEMON_SET, f"registry-mirror-{name}")
        kube.until_there(resources.SECRET, f"registry-mirror-{name}")
    until(lambda: kube.conditions("a"), why="the last mirror was reconciled")
    assert not any(each[1] == "Pruned" for name in ("a", "a-utils", "a-secret") for each in kube.events(name))


def test_former_fields_are_refused_by_name(own: Running) -> None:
    """The API server answers before a webhook could accept them. The command of docs/migration.md finds them."""
    (pattern,) = re.findall(
        r"get registrymirrors .+ grep -nE '(.+?)'", (REPOSITORY / "docs" / "migration.md").read_text()
    )
    fields: dict[str, Json] = {
        "priorityClass": {"priorityClass": "x"},
        "access_modes": {"volumeClaimTemplate": {"spec": {"access_modes": ["ReadWriteOnce"]}}},
        "storage_class_name": {"volumeClaimTemplate": {"spec": {"storage_class_name": "x"}}},
    }
    for name, spec in fields.items():
        body = {**one("refused").raw(), "spec": {"upstreamUrl": "quay.io", **spec}}
        answer = own.kube.kubectl("create", "-f", "-", "--dry-run=server", stdin=json.dumps(body))
        assert "unknown field" in answer
        assert name in answer
        assert re.search(pattern, f"{name}: x")


def test_crd_from_before_v1_is_updated(tmp_path: Path) -> None:
    """The API server keeps its `preserveUnknownFields`. The command of the documents sets it with the schema."""
    name = f"{names.PLURAL}.{names.GROUP}"
    kinds = {"kind": names.KIND, "listKind": f"{names.KIND}List", "plural": names.PLURAL, "singular": names.SINGULAR}
    spec = {"group": names.GROUP, "scope": "Cluster", "names": kinds, "version": "v1", "preserveUnknownFields": True}
    versions = [{"name": "v1", "served": True, "storage": True}]
    metadata = {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": "2018-06-01T00:00:00Z"}
    stored: Json = {
        "apiVersion": "apiextensions.k8s.io/v1beta1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {**spec, "versions": versions},
        "status": {"conditions": [], "acceptedNames": kinds, "storedVersions": ["v1"]},
    }
    with Cluster(tmp_path / "cluster").start(controllers=False, scheduler=False) as cluster:
        write_to_etcd(cluster, f"apiextensions.k8s.io/customresourcedefinitions/{name}", stored)
        asked = cluster.run_kubectl("get", "crd", name, "-o", "jsonpath={.spec.preserveUnknownFields}")
        assert asked.stdout == "true"
        refused = cluster.run_kubectl("apply", f"--filename={REPOSITORY}/deploy/crd.yaml", check=False)
        assert "preserveUnknownFields" in refused.stderr
        (command,) = re.findall(r"`(sed .+?)`", (REPOSITORY / "docs" / "migration.md").read_text())
        environment = {**cluster.client_environment, "PATH": f"{cluster.kubectl.parent}:{os.environ['PATH']}"}
        subprocess.run(["sh", "-c", command], cwd=REPOSITORY, env=environment, check=True)
        cluster.run_kubectl("apply", f"--filename={REPOSITORY}/deploy/crd.yaml")


def write_to_etcd(cluster: Cluster, key: str, value: Json) -> None:
    """Store an object as an earlier API server has stored it."""
    pair = {"key": f"/registry/{key}", "value": json.dumps(value)}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(cluster.folder / "etcd.sock"))) as etcd:
        etcd.post("http://etcd/v3/kv/put", json=encoded).raise_for_status()
