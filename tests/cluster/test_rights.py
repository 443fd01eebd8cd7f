"""The controller's rights are those it uses, no more and no fewer: deploy/ against the API server's audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from common.agent_protocol import REPLACED
from controller.objects import resources
from tests.localcluster.commands import CONTROLLER_MANAGER
from tests.localcluster.system import CONTROLLER, REPOSITORY
from tests.support.agents import Agent, Nodes
from tests.support.audit import entries
from tests.support.hands import POD, a_node_with_room, a_storage_class, volumes
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

Right = tuple[str, str, str]  # namespace or "", resource.group/subresource, verb


def granted() -> set[Right]:
    """What deploy/ lets the controller do."""
    return of_roles("controller.yaml", "controller-events.yaml")


def of_roles(*files: str) -> set[Right]:
    """What the roles in these files of deploy/ grant."""
    found: set[Right] = set()
    for file in files:
        for each in yaml.safe_load_all((REPOSITORY / "deploy" / file).read_text()):
            if each["kind"] in ("Role", "ClusterRole"):
                found |= set(_rights(each["metadata"].get("namespace", ""), each["rules"]))
    return found


def _rights(namespace: str, rules: list[Json]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield namespace, _named(group, resource), verb


def _named(group: str, resource: str) -> str:
    kind, _, subresource = resource.partition("/")
    return f"{kind}.{group}/{subresource}".rstrip("/").rstrip(".")


def used(running: Running) -> set[Right]:
    """What the controller asked the API server for, whatever the answer."""
    return {right_of(entry) for entry in requests(running)}


def requests(running: Running) -> list[Json]:
    """The audit log's entries about the controller's requests for objects."""
    user = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
    every = entries(running.cluster)
    return [entry for entry in every if entry["user"]["username"] == user and "objectRef" in entry]


def right_of(entry: Json) -> Right:
    """What a request of the audit log needs."""
    reference = entry["objectRef"]
    resource = reference["resource"] + (f"/{reference['subresource']}" if "subresource" in reference else "")
    return reference.get("namespace", ""), _named(reference.get("apiGroup", ""), resource), entry["verb"]


def one(name: str) -> MirrorBuilder:
    """A mirror whose host names no other has."""
    return a_mirror().named(name).of(f"{name}.example.com")


def test_the_controller_has_the_rights_it_uses_and_no_other(fresh: Callable[..., Running]) -> None:
    running = fresh(CA_CERTIFICATE_BUNDLE="bundle")
    kube = running.kube
    running.system.start()
    kube.create(resources.CONFIG_MAP, {"metadata": {"name": "bundle"}, "data": {"ca-certificates.crt": "PEM"}})
    _everything_is_repaired(kube)
    _what_cannot_change_is_made_again(kube)
    _storage_grows(kube)
    _a_daemon_set_is_pruned(kube)
    _an_agent_gets_a_new_pod(kube)
    _what_an_earlier_one_has_left_is_made_again(running)
    # The lease is renewed every two seconds, which all this may not take.
    until(lambda: granted() <= used(running), why="each right is used")
    assert granted() == used(running)
    refused = [entry for entry in requests(running) if entry.get("responseStatus", {}).get("code") == 403]
    # Before the roles were applied nothing ran; so each refusal would be a missing right.
    assert not refused


def _everything_is_repaired(kube: Kube) -> None:
    kube.mirror(one("repaired"))
    name = "registry-mirror-repaired"
    for kind in resources.CHILDREN:
        kube.until_there(kind, name)
        kube.patch(kind, name, {"metadata": {"labels": {"app": "edited"}}})
        _labelled_again(kube, kind, name)


def _an_agent_gets_a_new_pod(kube: Kube) -> None:
    """As a deletion waits for agents that run, and nobody ends this pod, it is the last that is made on the node."""
    a_node_with_room(kube, "edited")
    kube.mirror(one("renewed"))
    place = Nodes(kube, "renewed", {"edited": Agent("edited")})
    pod = place.run().pods()["edited"]["metadata"]
    for agent in place:
        agent.say("pending", REPLACED, "Its hosts file was replaced.")
    until(lambda: kube.get(POD, pod["name"])["metadata"].get("deletionTimestamp"), why="its pod goes")
    place.stop()


def _labelled_again(kube: Kube, kind: Kind, name: str) -> None:
    until(lambda: kube.get(kind, name)["metadata"]["labels"]["app"] == "docker-registry", why=f"{kind.name} repaired")


def _what_cannot_change_is_made_again(kube: Kube) -> None:
    name = "registry-mirror-replaced"
    labels = {"app": "docker-registry", "mirror": "replaced"}
    metadata = {"name": name, "labels": labels}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x.example.com/x"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    old = {
        resources.STATEFUL_SET: kube.create(
            resources.STATEFUL_SET, {"metadata": metadata, "spec": {**spec, "serviceName": "x"}}
        ),
        resources.DAEMON_SET: kube.create(resources.DAEMON_SET, {"metadata": metadata, "spec": spec}),
        resources.SECRET: kube.create(resources.SECRET, {"metadata": metadata, "immutable": True}),
        resources.SERVICE: kube.create(
            resources.SERVICE, {"metadata": metadata, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
        ),
    }
    kube.mirror(one("replaced"))
    for kind, live in old.items():
        _made_again(kube, kind, name, live["metadata"]["uid"])


def _made_again(kube: Kube, kind: Kind, name: str, uid: str) -> None:
    def another() -> bool:
        live = kube.find(kind, name)
        return live is not None and live["metadata"]["uid"] != uid

    until(another, why=f"{kind.name} replaced")


def _what_an_earlier_one_has_left_is_made_again(running: Running) -> None:
    """Nobody else collects it here."""
    kube, name = running.kube, "registry-mirror-repaired"
    running.cluster.kill(CONTROLLER_MANAGER)
    kube.delete(resources.MIRROR, "repaired")
    kube.until_gone(resources.MIRROR, "repaired")
    old = {kind: kube.get(kind, name)["metadata"]["uid"] for kind in resources.CHILDREN}
    kube.mirror(one("repaired"))
    for kind, uid in old.items():
        _made_again(kube, kind, name, uid)


def _storage_grows(kube: Kube) -> None:
    a_storage_class(kube, "growing", growing=True)
    volumes(kube, "growing", ["one"], "20Gi")
    kube.mirror(one("grown").on_class("growing"))
    phases = ("image-store-registry-mirror-grown-0", "image-store-registry-mirror-grown-1")
    until(lambda: {_phase(kube, claim) for claim in phases} == {"Bound", "Pending"}, why="one claim of two is bound")
    larger = {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "30Gi"}}}}}
    kube.patch(resources.MIRROR, "grown", {"spec": larger})
    until(lambda: {_asked(kube, claim) for claim in phases} == {"30Gi"}, why="both ask for more")


def _phase(kube: Kube, claim: str) -> str:
    return str((kube.find(resources.CLAIM, claim) or {}).get("status", {}).get("phase"))


def _asked(kube: Kube, claim: str) -> str:
    live = kube.find(resources.CLAIM, claim)
    return live["spec"]["resources"]["requests"]["storage"] if live else ""


def _a_daemon_set_is_pruned(kube: Kube) -> None:
    """Of two that come to want one name the older has it, by UID where they are of one second."""
    for name in ("rival-a", "rival-b"):
        kube.mirror(one(name))
        kube.until_there(resources.DAEMON_SET, f"registry-mirror-{name}")
    for name in ("rival-a", "rival-b"):
        kube.patch(resources.MIRROR, name, {"spec": {"masqueradeUrl": "contested.example.com"}})
    sets = ("registry-mirror-rival-a", "registry-mirror-rival-b")
    until(
        lambda: sum(kube.find(resources.DAEMON_SET, each) is not None for each in sets) == 1, why="one of two is left"
    )
