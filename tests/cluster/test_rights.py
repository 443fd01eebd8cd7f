"""Compare the roles in deploy/ with the API server's audit log: every right is used, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from common.agent_protocol import REPLACED
from controller.objects import resources
from tests.localcluster.commands import CONTROLLER_MANAGER
from tests.localcluster.system import CONTROLLER, REPOSITORY
from tests.support.agents import Agent, Nodes
from tests.support.audit import entries
from tests.support.components import POD, create_node_with_capacity, create_storage_class, create_volumes
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

Right = tuple[str, str, str]  # namespace or "", resource.group/subresource, verb


def granted() -> set[Right]:
    """Return the rights of the controller in deploy/."""
    return of_roles("controller.yaml", "controller-events.yaml")


def of_roles(*files: str) -> set[Right]:
    """Return the rights of the roles in these files of deploy/."""
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
    """Return the rights that the controller's requests need, whatever the answer."""
    return {right_of(entry) for entry in requests(running)}


def requests(running: Running) -> list[Json]:
    """Return the audit log's entries of the controller's requests."""
    user = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
    every = entries(running.cluster)
    return [entry for entry in every if entry["user"]["username"] == user and "objectRef" in entry]


def right_of(entry: Json) -> Right:
    """Return the right that a request needs."""
    reference = entry["objectRef"]
    resource = reference["resource"] + (f"/{reference['subresource']}" if "subresource" in reference else "")
    return reference.get("namespace", ""), _named(reference.get("apiGroup", ""), resource), entry["verb"]


def one(name: str) -> MirrorBuilder:
    """Return a mirror with unique host names."""
    return a_mirror().named(name).of(f"{name}.example.com")


def test_controller_uses_exactly_its_rights(fresh: Callable[..., Running]) -> None:
    running = fresh(CA_CERTIFICATE_BUNDLE="bundle")
    kube = running.kube
    running.system.start()
    kube.create(resources.CONFIG_MAP, {"metadata": {"name": "bundle"}, "data": {"ca-certificates.crt": "PEM"}})
    _repair_all_children(kube)
    _replace_immutable_objects(kube)
    _grow_storage(kube)
    _prune_daemon_set(kube)
    _renew_agent_pod(kube)
    _replace_leftover_objects(running)
    # The lease is renewed every two seconds.
    until(lambda: granted() <= used(running), why="each right is used")
    assert granted() == used(running)
    refused = [entry for entry in requests(running) if entry.get("responseStatus", {}).get("code") == 403]
    # The controller starts after the roles exist, so a refusal is a missing right.
    assert not refused


def _repair_all_children(kube: Kube) -> None:
    kube.mirror(one("repaired"))
    name = "registry-mirror-repaired"
    for kind in resources.CHILDREN:
        kube.until_there(kind, name)
        kube.patch(kind, name, {"metadata": {"labels": {"app": "edited"}}})
        _until_label_repaired(kube, kind, name)


def _renew_agent_pod(kube: Kube) -> None:
    """Leave a pod that never ends. It runs last on its node, because a deletion would wait for it."""
    create_node_with_capacity(kube, "edited")
    kube.mirror(one("renewed"))
    place = Nodes(kube, "renewed", {"edited": Agent("edited")})
    pod = place.run().pods()["edited"]["metadata"]
    for agent in place:
        agent.say("pending", REPLACED, "Its hosts file was replaced.")
    until(lambda: kube.get(POD, pod["name"])["metadata"].get("deletionTimestamp"), why="its pod goes")
    place.stop()


def _until_label_repaired(kube: Kube, kind: Kind, name: str) -> None:
    until(lambda: kube.get(kind, name)["metadata"]["labels"]["app"] == "docker-registry", why=f"{kind.name} repaired")


def occupy(kube: Kube, name: str, kind: Kind) -> Json:
    """Create an adoptable object with immutable differences in the place of a mirror's object."""
    labels = {"app": "docker-registry", "mirror": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x.example.com/x"}]}}
    workload = {"selector": {"matchLabels": labels}, "template": pod}
    bodies: dict[Kind, Json] = {
        resources.SECRET: {"immutable": True},
        resources.SERVICE: {"spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
        resources.STATEFUL_SET: {"spec": {**workload, "serviceName": "x"}},
        resources.DAEMON_SET: {"spec": workload},
    }
    return kube.create(kind, {"metadata": {"name": f"registry-mirror-{name}", "labels": labels}, **bodies[kind]})


def _replace_immutable_objects(kube: Kube) -> None:
    kinds = (resources.STATEFUL_SET, resources.DAEMON_SET, resources.SECRET, resources.SERVICE)
    old = {kind: occupy(kube, "replaced", kind)["metadata"]["uid"] for kind in kinds}
    kube.mirror(one("replaced"))
    for kind, uid in old.items():
        _until_replaced(kube, kind, "registry-mirror-replaced", uid)


def _until_replaced(kube: Kube, kind: Kind, name: str, uid: str) -> None:
    def another() -> bool:
        current = kube.find(kind, name)
        return current is not None and current["metadata"]["uid"] != uid

    until(another, why=f"{kind.name} replaced")


def _replace_leftover_objects(running: Running) -> None:
    """Stop the garbage collector, so that leftover objects stay."""
    kube, name = running.kube, "registry-mirror-repaired"
    running.cluster.kill(CONTROLLER_MANAGER)
    kube.delete(resources.MIRROR, "repaired")
    kube.until_gone(resources.MIRROR, "repaired")
    old = {kind: kube.get(kind, name)["metadata"]["uid"] for kind in resources.CHILDREN}
    kube.mirror(one("repaired"))
    for kind, uid in old.items():
        _until_replaced(kube, kind, name, uid)


def _grow_storage(kube: Kube) -> None:
    create_storage_class(kube, "growing", growing=True)
    claims = grow(kube, "grown")
    until(lambda: {_asked(kube, claim) for claim in claims} == {"30Gi"}, why="both ask for more")


def grow(kube: Kube, name: str) -> list[str]:
    """Grow the storage of a mirror with one bound and one pending claim. Return the claims."""
    create_volumes(kube, "growing", [name], "20Gi")
    kube.mirror(one(name).on_class("growing"))
    claims = [f"image-store-registry-mirror-{name}-{number}" for number in (0, 1)]
    until(lambda: {_phase(kube, claim) for claim in claims} == {"Bound", "Pending"}, why="one claim of two is bound")
    larger = {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "30Gi"}}}}}
    kube.patch(resources.MIRROR, name, {"spec": larger})
    return claims


def _phase(kube: Kube, claim: str) -> str:
    return str((kube.find(resources.CLAIM, claim) or {}).get("status", {}).get("phase"))


def _asked(kube: Kube, claim: str) -> str:
    current = kube.find(resources.CLAIM, claim)
    return current["spec"]["resources"]["requests"]["storage"] if current else ""


def _prune_daemon_set(kube: Kube) -> None:
    """Show that the older of two mirrors keeps a host name; the UID decides within the same second."""
    for name in ("rival-a", "rival-b"):
        kube.mirror(one(name))
        kube.until_there(resources.DAEMON_SET, f"registry-mirror-{name}")
    for name in ("rival-a", "rival-b"):
        kube.patch(resources.MIRROR, name, {"spec": {"masqueradeUrl": "contested.example.com"}})
    sets = ("registry-mirror-rival-a", "registry-mirror-rival-b")
    until(
        lambda: sum(kube.find(resources.DAEMON_SET, each) is not None for each in sets) == 1, why="one of two is left"
    )
