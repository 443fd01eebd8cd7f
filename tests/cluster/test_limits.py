"""Check the fields that the controller's account may change: caBundle, and its own finalizer."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources as kinds
from tests.localcluster.system import CONTROLLER
from tests.support import policies
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

REGISTRATIONS = pytest.mark.parametrize("kind", [kinds.MUTATING, kinds.VALIDATING], ids=lambda kind: kind.name)
OWNER = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "00000000-0000-0000-0000-000000000000"}


@pytest.fixture(scope="module")
def controller(shared: Running) -> Iterator[Kube]:
    """Yield a client with the controller's account."""
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
    user = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
    kube = Kube(shared.cluster, shared.cluster.kubeconfig_for(user, groups, shared.cluster.folder / "as-controller"))
    yield kube
    kube.close()


def tried(kube: Kube, kind: Kind, name: str, body: Json) -> tuple[int, str]:
    """Return status and message of a merge patch as a dry run."""
    headers = {"Content-Type": "application/merge-patch+json"}
    path = kind.path(NAMESPACE, name)
    answer = kube.http.patch(path, content=json.dumps(body), headers=headers, params={"dryRun": "All"})
    return answer.status_code, answer.json().get("message", "")


def changed(change: Callable[[Json], object]) -> Callable[[Json], Json]:
    """Return a patch that applies `change` to the first webhook of a configuration."""

    def patch(current: Json) -> Json:
        webhook = json.loads(json.dumps(current["webhooks"][0]))
        change(webhook)
        return {"webhooks": [webhook]}

    return patch


FORBIDDEN: dict[str, Callable[[Json], Json]] = {
    "failurePolicy": changed(lambda one: one.update(failurePolicy="Ignore")),
    "its rules": changed(lambda one: one["rules"][0].update(resources=["*"])),
    "the operations": changed(lambda one: one["rules"][0].update(operations=["CREATE"])),
    "an address": changed(
        lambda one: one.update(
            clientConfig={"url": "https://evil.example.com/", "caBundle": one["clientConfig"]["caBundle"]}
        )
    ),
    "the path": changed(lambda one: one["clientConfig"]["service"].update(path="/other")),
    "the Service": changed(lambda one: one["clientConfig"]["service"].update(namespace="default")),
    "namespaceSelector": changed(lambda one: one.update(namespaceSelector={"matchLabels": {"a": "b"}})),
    "objectSelector": changed(lambda one: one.update(objectSelector={"matchLabels": {"a": "b"}})),
    "matchConditions": changed(lambda one: one.update(matchConditions=[{"name": "never", "expression": "false"}])),
    "the time-out": changed(lambda one: one.update(timeoutSeconds=1)),
    "the webhook's name": changed(lambda one: one.update(name="other.registrymirrors.k8s.osp.tech")),
    "caBundle and more": changed(lambda one: (one["clientConfig"].pop("caBundle"), one.update(timeoutSeconds=1))),
    "one webhook more": lambda current: {
        "webhooks": [*current["webhooks"], {**current["webhooks"][0], "name": "a.b.c"}]
    },
    "no webhook": lambda _: {"webhooks": []},
    "labels": lambda _: {"metadata": {"labels": {"a": "b"}}},
    "annotations": lambda _: {"metadata": {"annotations": {"a": "b"}}},
    "an owner": lambda _: {"metadata": {"ownerReferences": [OWNER]}},
    "finalizers": lambda _: {"metadata": {"finalizers": ["example.com/for-ever"]}},
}


@REGISTRATIONS
def test_controller_changes_only_ca_bundle(shared: Running, controller: Kube, kind: Kind) -> None:
    """The administrator may change everything."""
    current = shared.kube.get(kind, "registrymirror")
    bundle = base64.b64encode(b"another authority").decode()
    for value in (bundle, None):
        published = changed(lambda one, ca=value: one["clientConfig"].update(caBundle=ca))(current)  # type: ignore[misc]
        assert tried(controller, kind, "registrymirror", published) == (200, "")
    for what, patch in FORBIDDEN.items():
        status, message = tried(controller, kind, "registrymirror", patch(current))
        sentence = "the registry-mirror controller may change only caBundle of a webhook configuration"
        assert (status, sentence in message) == (422, True), (what, message)
        assert tried(shared.kube, kind, "registrymirror", patch(current))[0] == 200, what


def test_controller_changes_only_its_finalizer(kube: Kube, controller: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    kube.until_condition(name, "Accepted", "True", "Valid")
    kube.json_patch(kinds.MIRROR, name, {"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/own"})
    kube.patch(kinds.MIRROR, name, {"metadata": {"annotations": {"note": "kept"}}})
    foreign = ["example.com/own"]
    for finalizers in (foreign, ["k8s.osp.tech/nodes", *foreign]):
        assert tried(controller, kinds.MIRROR, name, {"metadata": {"finalizers": finalizers}}) == (200, "")
    forbidden: list[Json] = [
        {"metadata": {"finalizers": None}},
        {"metadata": {"finalizers": ["k8s.osp.tech/nodes", *foreign, "example.com/another"]}},
        {"metadata": {"labels": {"mirror": "another"}}},
        {"metadata": {"labels": {"mirror": None}}},
        {"metadata": {"labels": None}},
        {"metadata": {"annotations": {"note": "changed"}}},
        {"metadata": {"annotations": {"note": None}}},
        {"metadata": {"ownerReferences": [OWNER]}},
        {"spec": {"upstreamUrl": "evil.example.com"}},
        {"spec": {"ttl": "1h"}},
    ]
    for patch in forbidden:
        status, message = tried(controller, kinds.MIRROR, name, patch)
        sentence = "may change only the status and the finalizer k8s.osp.tech/nodes of a RegistryMirror"
        assert (status, sentence in message) == (422, True), (patch, message)
    kube.patch(kinds.MIRROR, name, {"metadata": {"finalizers": ["k8s.osp.tech/nodes"]}})


def test_mirror_is_deleted_despite_mutating_policy(kube: Kube, name: str) -> None:
    """Kyverno and Gatekeeper mutate the controller's patch of the finalizer."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    kube.until_condition(name, "Accepted", "True", "Valid")
    marks = "Object{metadata: Object.metadata{labels: {'seen': 'yes'}, annotations: {'seen-by': 'a-policy'}}}"
    policies.alter(kube, name, policies.rule("k8s.osp.tech", "registrymirrors", "UPDATE", name=name), marks)
    until(lambda: _marked(kube, name), why="whatever is updated is marked")
    kube.delete(kinds.MIRROR, name)
    until(lambda: kube.find(kinds.MIRROR, name) is None, why="the mirror is gone")
    policies.lift(kube, name, policies.ALTERING)


def _marked(kube: Kube, name: str) -> bool:
    headers = {"Content-Type": "application/merge-patch+json"}
    body = json.dumps({"metadata": {"labels": {"touched": "yes"}}})
    answer = kube.http.patch(kinds.MIRROR.path(None, name), content=body, headers=headers, params={"dryRun": "All"})
    return answer.status_code == 200 and "seen" in answer.json()["metadata"]["labels"]
