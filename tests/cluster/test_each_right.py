"""Remove each right alone, and check that a request is refused and logged.

test_rights compares the granted rights with the used ones. The API server authorizes each request alone, so one start
of the controller covers all watches.
"""

from __future__ import annotations

import io
import json
import threading
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from common.agent_protocol import REPLACED
from controller.objects import resources
from controller.objects.resources import Kind
from hostess.__main__ import _collections
from hostess.containerd.config_reader import Containerd
from hostess.json_log import Log
from hostess.kube.api_client import ApiError
from hostess.kube.removal import removal_reason
from hostess.kube.watcher import Reflector
from tests.cluster.test_hostess import Account, service
from tests.cluster.test_rights import Right, granted, grow, occupy, of_roles, one, requests, right_of
from tests.localcluster.commands import CONTROLLER_MANAGER
from tests.localcluster.system import CONTROLLER
from tests.support.agents import Agent, Nodes
from tests.support.components import create_node, create_node_with_capacity, create_storage_class
from tests.support.kube import NAMESPACE, Kube, until
from tests.unit.hostess.node_files import NodeFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json
    from tests.cluster.conftest import Running

AGENT = "registrymirror-hostess"

ROLE = Kind("rbac.authorization.k8s.io/v1", "roles", "Role")
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", namespaced=False)
REVIEW = Kind("authorization.k8s.io/v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
OF_A_MIRROR: Final = {
    "secrets": resources.SECRET,
    "services": resources.SERVICE,
    "statefulsets.apps": resources.STATEFUL_SET,
    "daemonsets.apps": resources.DAEMON_SET,
    "poddisruptionbudgets.policy": resources.BUDGET,
}
STANDING = "standing"  # a mirror that exists during the whole test


def made(kube: Kube, name: str) -> None:
    kube.mirror(one(name))


def edited(kube: Kube, _: str, *, kind: Kind) -> None:
    kube.patch(kind, f"registry-mirror-{STANDING}", {"metadata": {"labels": {"app": f"edited-{kind.plural}"}}})


def replaced(kube: Kube, name: str, *, kind: Kind) -> None:
    occupy(kube, name, kind)
    made(kube, name)


def left_over(kube: Kube, name: str) -> None:
    """Put an object of an earlier mirror in the place of a mirror's object, without a garbage collector."""
    kube.cluster.kill(CONTROLLER_MANAGER)
    earlier = {
        "apiVersion": resources.MIRROR.api,
        "kind": resources.MIRROR.name,
        "name": name,
        "uid": str(uuid.uuid4()),
    }
    metadata = {"name": f"registry-mirror-{name}", "ownerReferences": [{**earlier, "controller": True}]}
    kube.create(resources.BUDGET, {"metadata": metadata, "spec": {"maxUnavailable": 1}})
    made(kube, name)


def unpublished(kube: Kube, _: str, *, kind: Kind) -> None:
    kube.json_patch(kind, "registrymirror", {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"})


def _bundled(kube: Kube, kind: Kind) -> bool:
    webhooks = kube.get(kind, "registrymirror")["webhooks"]
    return all(webhook["clientConfig"].get("caBundle") for webhook in webhooks)


def deleted(kube: Kube, _: str) -> None:
    """Delete a mirror, so that the controller lists its agents."""
    kube.delete(resources.MIRROR, STANDING)


def outdated(kube: Kube, name: str) -> None:
    """Let an agent need a new pod."""
    create_node_with_capacity(kube, "edited")
    made(kube, name)
    place = Nodes(kube, name, {"edited": Agent("edited")})
    for agent in place.run():
        agent.say("pending", REPLACED, "Its hosts file was replaced.")


def silent(kube: Kube, name: str) -> None:
    """Create an agent without a kubelet, so that the controller looks for Events about its pod."""
    create_node_with_capacity(kube, "silent")
    made(kube, name)


def lease_gone(kube: Kube, _: str) -> None:
    kube.delete(resources.LEASE, CONTROLLER)


def nothing(_: Kube, __: str) -> None:
    """Do nothing: the lease is renewed every two seconds."""


MIRRORS, ADMISSION = "registrymirrors.k8s.osp.tech", "webhookconfigurations.admissionregistration.k8s.io"
LEASES = "leases.coordination.k8s.io"
TRIGGERS: dict[Right, Callable[[Kube, str], object]] = {
    ("", MIRRORS, "patch"): made,
    ("", f"{MIRRORS}/status", "patch"): made,
    ("", f"mutating{ADMISSION}", "patch"): partial(unpublished, kind=resources.MUTATING),
    ("", f"validating{ADMISSION}", "patch"): partial(unpublished, kind=resources.VALIDATING),
    ("default", "events.events.k8s.io", "create"): partial(edited, kind=resources.SECRET),
    **{(NAMESPACE, resource, "create"): made for resource in OF_A_MIRROR},
    **{(NAMESPACE, resource, "patch"): partial(edited, kind=kind) for resource, kind in OF_A_MIRROR.items()},
    **{
        (NAMESPACE, resource, "delete"): partial(replaced, kind=kind)
        for resource, kind in OF_A_MIRROR.items()
        if kind is not resources.BUDGET
    },
    (NAMESPACE, "events", "list"): silent,
    (NAMESPACE, "persistentvolumeclaims", "patch"): grow,
    (NAMESPACE, "persistentvolumeclaims", "delete"): grow,
    (NAMESPACE, "pods", "delete"): outdated,
    (NAMESPACE, "poddisruptionbudgets.policy", "delete"): left_over,
    (NAMESPACE, LEASES, "get"): nothing,
    (NAMESPACE, LEASES, "update"): nothing,
    (NAMESPACE, LEASES, "create"): lease_gone,
    # The last: the mirror that stands goes by it.
    (NAMESPACE, "pods", "list"): deleted,
}


class Roles:
    """The roles of one account."""

    def __init__(self, kube: Kube, account: str) -> None:
        self.kube, self.account = kube, account
        self.user = f"system:serviceaccount:{NAMESPACE}:{account}"

    @contextmanager
    def without(self, *rights: Right) -> Iterator[None]:
        """Remove these rights while the block runs."""
        namespaces = {namespace for namespace, _, _ in rights}
        before = {place: self._role(place)["rules"] for place in namespaces}
        for place, rules in before.items():
            taken = {(resource, verb) for namespace, resource, verb in rights if namespace == place}
            self._put(place, list(_less(rules, taken)))
        try:
            until(lambda: not any(map(self._may, rights)), why=f"{rights} are taken away")
            yield
        finally:
            for place, rules in before.items():
                self._put(place, rules)
            until(lambda: all(map(self._may, rights)), why=f"{rights} are given back")

    def _named(self, place: str) -> tuple[Kind, str, str]:
        """Return kind, namespace and name of the role for a namespace; empty for the cluster."""
        suffix = "-events" if place == "default" else ""
        return (ROLE if place else CLUSTER_ROLE), place or NAMESPACE, f"{self.account}{suffix}"

    def _role(self, place: str) -> Json:
        kind, namespace, name = self._named(place)
        return self.kube.get(kind, name, namespace)

    def _put(self, place: str, rules: list[Json]) -> None:
        kind, namespace, name = self._named(place)
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = self.kube.http.patch(kind.path(namespace, name), content=json.dumps({"rules": rules}), headers=headers)
        assert answer.is_success, answer.text

    def _may(self, right: Right) -> bool:
        namespace, resource, verb = right
        kind, _, subresource = resource.partition("/")
        plural, _, group = kind.partition(".")
        asked = {"namespace": namespace, "group": group, "resource": plural, "subresource": subresource, "verb": verb}
        # Some rules have resourceNames. For the others any name fits.
        asked["name"] = "registrymirror" if "webhook" in plural else CONTROLLER
        body = {"spec": {"user": self.user, "resourceAttributes": asked}}
        return bool(self.kube.create(REVIEW, body)["status"]["allowed"])


def _less(rules: list[Json], taken: set[tuple[str, str]]) -> Iterator[Json]:
    """Yield the rules, one per resource, without the removed rights."""
    for rule in rules:
        for resource in rule["resources"]:
            (group,) = rule["apiGroups"]
            kind, _, subresource = resource.partition("/")
            named = f"{kind}.{group}/{subresource}".rstrip("/").rstrip(".")
            verbs = [verb for verb in rule["verbs"] if (named, verb) not in taken]
            if verbs:
                yield {**rule, "resources": [resource], "verbs": verbs}


class Log403:
    """Refused requests of the controller since its creation."""

    def __init__(self, running: Running) -> None:
        self.running, self.begin = running, len(requests(running))

    def rights(self) -> set[Right]:
        """Return the missing rights."""
        new = requests(self.running)[self.begin :]
        return {right_of(entry) for entry in new if entry.get("responseStatus", {}).get("code") == 403}

    def until_refused(self, *rights: Right) -> None:
        """Wait until each of these requests was refused. Fail if another one was."""
        until(lambda: set(rights) <= self.rights(), why=f"{set(rights)} are missed; refused were {self.rights()}")
        assert self.rights() == set(rights)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_controller_needs_each_right(fresh: Callable[..., Running]) -> None:
    running = fresh(CA_CERTIFICATE_BUNDLE="bundle")
    kube, roles = running.kube, Roles(running.kube, CONTROLLER)
    kube.create(resources.CONFIG_MAP, {"metadata": {"name": "bundle"}, "data": {"ca-certificates.crt": "PEM"}})
    for verb in ("list", "watch"):
        of_watches = {right for right in granted() if right[2] == verb} - TRIGGERS.keys()
        with roles.without(*of_watches):
            refused = Log403(running)
            running.system.launch_controller(f"controller-{verb}")
            refused.until_refused(*of_watches)
        running.system.processes.stop([f"controller-{verb}"])
    assert granted() == {right for right in granted() if right[2] in ("list", "watch")} | TRIGGERS.keys()
    running.system.start()
    create_storage_class(kube, "growing", growing=True)
    made(kube, STANDING)
    for kind in resources.CHILDREN:
        kube.until_there(kind, f"registry-mirror-{STANDING}")
    for number, (right, trigger) in enumerate(TRIGGERS.items()):
        with roles.without(right):
            refused = Log403(running)
            trigger(kube, f"missed-{number}")
            refused.until_refused(right)
        until(
            lambda: all(_bundled(kube, each) for each in (resources.MUTATING, resources.VALIDATING)),
            why="mirrors can be made again",
        )
    kube.until_gone(resources.MIRROR, STANDING)


def test_agent_needs_each_right(fresh: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each right is removed alone."""
    running = fresh(controllers=False)
    folder = tmp_path_factory.mktemp("agent")
    account, roles = Account(running, folder / "account"), Roles(running.kube, AGENT)
    settings = NodeFiles(folder / "node").settings(NODE_NAME="node-1")
    create_node(running.kube, "node-1")
    service(running)
    rights = of_roles("hostess.yaml")
    assert rights == {
        ("", "nodes", "get"),
        (NAMESPACE, "namespaces", "get"),
        *(
            (NAMESPACE, resource, verb)
            for resource in ("services", "endpointslices.discovery.k8s.io")
            for verb in ("list", "watch")
        ),
    }
    for right in rights:
        log, stopping = io.StringIO(), threading.Event()
        with roles.without(right):
            if right[1] == "namespaces":
                with pytest.raises(ApiError) as refused:
                    account.api.get(f"/api/v1/namespaces/{NAMESPACE}")
                log.write(str(refused.value))
                assert removal_reason(account.api, settings, seen=False) == "", "the mirror stays"
            elif right[2] == "get":
                Containerd(settings, account.api, Log(log)).read_version()
            else:
                path, selector = _collections(settings)[right[1].partition(".")[0]]
                follower = Reflector(account.api, path, selector, lambda _: None, Log(log), stopping)
                threading.Thread(target=follower.run, daemon=True).start()
            until(lambda log=log: "is forbidden" in log.getvalue(), why=f"{right} is missed")  # type: ignore[misc]
            stopping.set()
        logged = log.getvalue().replace("\\", "")
        assert f'cannot {right[2]} resource "{right[1].partition(".")[0]}"' in logged
