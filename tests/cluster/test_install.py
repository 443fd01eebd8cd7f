"""Apply deploy/ and the examples to a real API server, and check the pods' rights."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from controller.objects import resources
from tests.localcluster.cluster import Cluster
from tests.localcluster.system import REPOSITORY
from tests.support.kube import Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json
    from tests.cluster.conftest import Running

EXAMPLES = sorted((REPOSITORY / "deploy" / "examples").glob("*.yaml"))
DEPLOYMENT = resources.Kind("apps/v1", "deployments", "Deployment")
POD = resources.Kind("v1", "pods", "Pod")
NETWORK_POLICY = resources.Kind("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
PROGRAMS = ("registrymirror-webhook", "registrymirror-controller")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """Yield a cluster with the unchanged manifests."""
    with Cluster(tmp_path_factory.mktemp("installed")).start() as cluster:
        kube = Kube(cluster)
        printed = kube.kubectl("apply", "-k", str(REPOSITORY / "deploy"))
        assert "error" not in printed.lower(), printed
        yield kube
        kube.close()


def test_apply_is_idempotent(installed: Kube) -> None:
    """Kubectl always patches the selector of a PodDisruptionBudget. Nothing changes."""
    before = _versions(installed)
    assert len(before) >= 20
    printed = installed.kubectl("apply", "-k", str(REPOSITORY / "deploy"))
    changed = [line.split()[0] for line in printed.splitlines() if not line.endswith(" unchanged")]
    assert [each for each in changed if not each.startswith("poddisruptionbudget.policy/")] == []
    assert _versions(installed) == before


def _versions(kube: Kube) -> dict[str, int]:
    """Return the generation of each installed object, or its resource version."""
    listed = json.loads(kube.kubectl("get", "-k", str(REPOSITORY / "deploy"), "-o", "json"))["items"]
    return {
        f"{each['kind']} {each['metadata']['name']}": each["metadata"].get("generation")
        or int(each["metadata"]["resourceVersion"])
        for each in listed
    }


def test_apply_keeps_ca_bundle(installed: Kube) -> None:
    current = installed.get(resources.MUTATING, "registrymirror")
    bundle = base64.b64encode(b"ca").decode()
    webhooks = [{**each, "clientConfig": {**each["clientConfig"], "caBundle": bundle}} for each in current["webhooks"]]
    installed.patch(resources.MUTATING, "registrymirror", {"webhooks": webhooks})
    installed.kubectl("apply", "-k", str(REPOSITORY / "deploy"))
    after = installed.get(resources.MUTATING, "registrymirror")["webhooks"]
    assert [each["clientConfig"].get("caBundle") for each in after] == [bundle]


def test_programs_are_replicated_with_budget(installed: Kube) -> None:
    for name in PROGRAMS:
        current = installed.get(DEPLOYMENT, name)
        assert current["spec"]["replicas"] == 2
        pod = current["spec"]["template"]["spec"]
        assert pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
        budget = installed.get(resources.BUDGET, name)["spec"]
        assert budget["selector"]["matchLabels"] == current["spec"]["selector"]["matchLabels"]
    webhook = installed.get(DEPLOYMENT, "registrymirror-webhook")["spec"]["template"]["spec"]
    assert webhook["automountServiceAccountToken"] is False
    (volume,) = webhook["volumes"]
    assert volume["secret"]["secretName"] == "registrymirror-webhook-tls"
    assert volume["secret"]["optional"] is False


def test_priorities_of_pods(installed: Kube, kube: Kube, name: str) -> None:
    """Caches rank like agents, and neither evicts a pod of another application."""
    for program in PROGRAMS:
        label = f"app.kubernetes.io/name={program}"
        pods = until(lambda label=label: installed.every(POD, labelSelector=label), why=f"{program} has pods")  # type: ignore[misc]
        assert {pod["spec"]["priority"] for pod in pods} == {900_000_000}
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    for template in _templates(kube, name):
        metadata = {"generateName": "tried-", "labels": template["metadata"]["labels"]}
        pod = {"metadata": metadata, "spec": {**template["spec"], "serviceAccountName": "default", "volumes": []}}
        pod["spec"]["containers"] = [{**each, "volumeMounts": []} for each in pod["spec"]["containers"]]
        tried = kube.create(POD, pod, dryRun="All")["spec"]
        assert (tried["priority"], tried["preemptionPolicy"]) == (1_000_000_000, "Never")


def _templates(kube: Kube, mirror: str) -> list[Json]:
    """Return the pod templates of a cache and of a node agent."""
    return [
        kube.until_there(kind, f"registry-mirror-{mirror}")["spec"]["template"]
        for kind in (resources.STATEFUL_SET, resources.DAEMON_SET)
    ]


def test_network_policies_match_pods_and_ports(installed: Kube, kube: Kube, name: str) -> None:
    """The test network does not enforce policies, so the test compares selectors and ports."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    programs = [installed.get(DEPLOYMENT, program)["spec"]["template"] for program in PROGRAMS]
    policies = installed.every(NETWORK_POLICY)
    opened: dict[str, set[int]] = {}
    for template in (*programs, *_templates(kube, name)):
        labels = template["metadata"]["labels"].items()
        (policy,) = (each for each in policies if each["spec"]["podSelector"]["matchLabels"].items() <= labels)
        ports = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        (container,) = template["spec"]["containers"]
        assert ports == {port["containerPort"] for port in container["ports"]}
        rules = [rule for rule in policy["spec"]["ingress"] if "from" not in rule]
        opened[policy["metadata"]["name"]] = {port["port"] for rule in rules for port in rule["ports"]}
    # No policy may block a review or a pull.
    assert opened == {
        "registrymirror-webhook": {8443},
        "registrymirror-controller": set(),
        "registrymirror-caches": {5000},
        "registrymirror-hostess": set(),
    }
    (silent,) = (each for each in policies if "Egress" in each["spec"]["policyTypes"])
    assert silent["metadata"]["name"] == "registrymirror-webhook"
    asking = {
        each["metadata"]["name"]: peer["podSelector"]["matchLabels"]
        for each in policies
        for rule in each["spec"]["ingress"]
        for peer in rule.get("from", [])
        if "podSelector" in peer
    }
    # The controller reads the status of caches and agents.
    controller = programs[1]["metadata"]["labels"].items()
    assert asking.keys() == {"registrymirror-caches", "registrymirror-hostess"}
    assert all(labels.items() <= controller for labels in asking.values())


def test_webhook_configurations_are_narrow(installed: Kube) -> None:
    for kind in (resources.MUTATING, resources.VALIDATING):
        (webhook,) = installed.get(kind, "registrymirror")["webhooks"]
        assert (webhook["failurePolicy"], webhook["matchPolicy"], webhook["sideEffects"]) == (
            "Fail",
            "Equivalent",
            "None",
        )
        assert webhook["timeoutSeconds"] == 10
        (rule,) = webhook["rules"]
        assert (rule["apiGroups"], rule["resources"]) == (["k8s.osp.tech"], ["registrymirrors"])
        assert sorted(rule["operations"]) == ["CREATE", "UPDATE"]
        (condition,) = webhook["matchConditions"]
        assert condition["expression"] == "request.operation == 'CREATE' || object.?spec != oldObject.?spec"


def test_pods_meet_restricted_standard(installed: Kube, kube: Kube, name: str) -> None:
    """A server-side dry run in a restricted namespace decides."""
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    installed.create(
        resources.Kind("v1", "namespaces", "Namespace", namespaced=False),
        {"metadata": {"name": "strict", "labels": strict}},
    )
    installed.create(resources.Kind("v1", "serviceaccounts", "ServiceAccount"), {"metadata": {"name": "x"}}, "strict")
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    cache = kube.until_there(resources.STATEFUL_SET, f"registry-mirror-{name}")["spec"]["template"]
    programs = [installed.get(DEPLOYMENT, program)["spec"]["template"] for program in PROGRAMS]
    for template in (cache, *programs):
        spec = {**template["spec"], "serviceAccountName": "x", "serviceAccount": "x"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "strict"}, "spec": spec}
        printed = installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=_without_claims(pod))
        assert printed == "pod/x created (server dry run)\n"
    bad = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "namespace": "strict"},
        "spec": {"containers": [{"name": "x", "image": "x"}]},
    }
    assert "violates PodSecurity" in installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=bad)


def _without_claims(pod: Json) -> Json:
    """Replace the claim's volume, which the StatefulSet controller adds, by an empty one."""
    mounted = {mount["name"] for mount in pod["spec"]["containers"][0].get("volumeMounts", [])}
    missing = mounted - {volume["name"] for volume in pod["spec"].get("volumes", [])}
    volumes = [*pod["spec"].get("volumes", []), *({"name": name, "emptyDir": {}} for name in sorted(missing))]
    return {**pod, "spec": {**pod["spec"], "volumes": volumes}}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_becomes_mirror(kube: Kube, example: Any) -> None:
    name = yaml.safe_load(example.read_text())["metadata"]["name"]
    try:
        assert f"registrymirror.k8s.osp.tech/{name} created" in kube.kubectl("apply", "-f", str(example))
        kube.until_there(resources.STATEFUL_SET, f"registry-mirror-{name}")
        kube.until_condition(name, "Accepted", "True", "Valid")
        assert f"registrymirror.k8s.osp.tech/{name} unchanged" in kube.kubectl("apply", "-f", str(example))
    finally:
        kube.kubectl("delete", "-f", str(example))
        kube.until_gone(resources.STATEFUL_SET, f"registry-mirror-{name}")
        kube.until_gone(resources.SERVICE, f"registry-mirror-{name}")


def test_full_example_has_all_fields() -> None:
    spec = yaml.safe_load((REPOSITORY / "deploy" / "examples" / "full.yaml").read_text())["spec"]
    definition = yaml.safe_load((REPOSITORY / "deploy" / "crd.yaml").read_text())["spec"]
    known = definition["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert sorted(spec) == sorted(known)


def _text(kube: Kube, secret: str, key: str) -> str:
    return base64.b64decode(kube.get(resources.SECRET, secret)["data"][key]).decode()


def test_ca_bundle_is_set_and_repaired(shared: Running) -> None:
    kube = shared.kube
    ca = _text(kube, "registrymirror-webhook-ca", "tls.crt")
    for kind in (resources.MUTATING, resources.VALIDATING):
        webhooks = kube.get(kind, "registrymirror")["webhooks"]
        assert base64.b64decode(webhooks[0]["clientConfig"]["caBundle"]).decode() == ca
        kube.json_patch(kind, "registrymirror", {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"})
        _until_repaired(kube, kind, webhooks)


def _until_repaired(kube: Kube, kind: resources.Kind, webhooks: list[Json]) -> None:
    until(lambda: kube.get(kind, "registrymirror")["webhooks"] == webhooks, why=f"{kind.name} is repaired")


def test_mirrors_and_webhook_have_separate_cas(shared: Running) -> None:
    assert _text(shared.kube, "registrymirror-ca", "tls.crt") != _text(
        shared.kube, "registrymirror-webhook-ca", "tls.crt"
    )


def test_mirror_secret_has_no_ca_key(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    secret = kube.until_there(resources.SECRET, f"registry-mirror-{name}")
    keys = {_text(kube, ca, "tls.key") for ca in ("registrymirror-ca", "registrymirror-webhook-ca")}
    assert keys.isdisjoint({base64.b64decode(value).decode() for value in secret["data"].values()})
