"""`kubectl apply -k deploy/` on a real API server, the examples, and what the pods may do there."""

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
    """A cluster on which the manifests were applied as they are."""
    with Cluster(tmp_path_factory.mktemp("installed")).start() as cluster:
        kube = Kube(cluster)
        printed = kube.kubectl("apply", "-k", str(REPOSITORY / "deploy"))
        assert "error" not in printed.lower(), printed
        yield kube
        kube.close()


def test_one_command_installs_everything_and_repeats_without_a_change(installed: Kube) -> None:
    """By the stored objects, and by what kubectl says: the selector of a budget it sends each time, changed or not."""
    before = _versions(installed)
    assert len(before) >= 20
    printed = installed.kubectl("apply", "-k", str(REPOSITORY / "deploy"))
    changed = [line.split()[0] for line in printed.splitlines() if not line.endswith(" unchanged")]
    assert [each for each in changed if not each.startswith("poddisruptionbudget.policy/")] == []
    assert _versions(installed) == before


def _versions(kube: Kube) -> dict[str, int]:
    """Generation of each installed object that has one, else its resource version."""
    listed = json.loads(kube.kubectl("get", "-k", str(REPOSITORY / "deploy"), "-o", "json"))["items"]
    return {
        f"{each['kind']} {each['metadata']['name']}": each["metadata"].get("generation")
        or int(each["metadata"]["resourceVersion"])
        for each in listed
    }


def test_applying_again_leaves_the_published_authority_where_it_is(installed: Kube) -> None:
    live = installed.get(resources.MUTATING, "registrymirror")
    bundle = base64.b64encode(b"authority").decode()
    webhooks = [{**each, "clientConfig": {**each["clientConfig"], "caBundle": bundle}} for each in live["webhooks"]]
    installed.patch(resources.MUTATING, "registrymirror", {"webhooks": webhooks})
    installed.kubectl("apply", "-k", str(REPOSITORY / "deploy"))
    after = installed.get(resources.MUTATING, "registrymirror")["webhooks"]
    assert [each["clientConfig"].get("caBundle") for each in after] == [bundle]


def test_both_programs_run_twice_spread_with_a_budget_and_the_webhook_has_no_token(installed: Kube) -> None:
    for name in PROGRAMS:
        live = installed.get(DEPLOYMENT, name)
        assert live["spec"]["replicas"] == 2
        pod = live["spec"]["template"]["spec"]
        assert pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
        budget = installed.get(resources.BUDGET, name)["spec"]
        assert budget["selector"]["matchLabels"] == live["spec"]["selector"]["matchLabels"]
    webhook = installed.get(DEPLOYMENT, "registrymirror-webhook")["spec"]["template"]["spec"]
    assert webhook["automountServiceAccountToken"] is False
    (volume,) = webhook["volumes"]
    assert volume["secret"]["secretName"] == "registrymirror-webhook-tls"
    assert volume["secret"]["optional"] is False


def test_the_pods_of_both_programs_go_before_workloads_and_agents_before_them(
    installed: Kube, kube: Kube, name: str
) -> None:
    """By the priority that the API server gives them; the caches, which pulls can do without, have none."""
    for program in PROGRAMS:
        label = f"app.kubernetes.io/name={program}"
        pods = until(lambda label=label: installed.every(POD, labelSelector=label), why=f"{program} has pods")  # type: ignore[misc]
        assert {pod["spec"]["priority"] for pod in pods} == {900_000_000}
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    cache, agent = _templates(kube, name)
    assert "priorityClassName" not in cache["spec"]
    labels = agent["metadata"]["labels"]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "agent-", "labels": labels}}
    tried = kube.create(POD, {**body, "spec": {**agent["spec"], "serviceAccountName": "default"}}, dryRun="All")
    assert tried["spec"]["priority"] == 1_000_000_000


def _templates(kube: Kube, mirror: str) -> list[Json]:
    """The pods that a mirror has made of it: of a cache, and of a node agent."""
    return [
        kube.until_there(kind, f"registry-mirror-{mirror}")["spec"]["template"]
        for kind in (resources.STATEFUL_SET, resources.DAEMON_SET)
    ]


def test_each_pod_is_in_one_network_policy_which_opens_ports_that_it_has(
    installed: Kube, kube: Kube, name: str
) -> None:
    """The test network enforces none: what is seen is that selectors and ports are those of the pods."""
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
        opened[policy["metadata"]["name"]] = _open_to_all(policy)
    # No policy may stand in the way of a review or of a pull.
    assert opened == {
        "registrymirror-webhook": {8443},
        "registrymirror-controller": set(),
        "registrymirror-caches": {5000},
        "registrymirror-hostess": set(),
    }
    (silent,) = (each for each in policies if "Egress" in each["spec"]["policyTypes"])
    assert silent["metadata"]["name"] == "registrymirror-webhook"
    (asking,) = (
        peer
        for each in policies
        for rule in each["spec"]["ingress"]
        for peer in rule.get("from", [])
        if "podSelector" in peer
    )
    assert asking["podSelector"]["matchLabels"].items() <= programs[1]["metadata"]["labels"].items()


def _open_to_all(policy: Json) -> set[int]:
    return {port["port"] for rule in policy["spec"]["ingress"] if "from" not in rule for port in rule["ports"]}


def test_the_registrations_are_as_narrow_as_promised(installed: Kube) -> None:
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


def test_pods_of_both_programs_and_of_the_cache_meet_the_restricted_standard(
    installed: Kube, kube: Kube, name: str
) -> None:
    """By the API server's own judgement: a server-side dry run in a namespace that enforces it."""
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
    """The StatefulSet controller adds the claim's volume; here an empty one stands for it."""
    mounted = {mount["name"] for mount in pod["spec"]["containers"][0].get("volumeMounts", [])}
    missing = mounted - {volume["name"] for volume in pod["spec"].get("volumes", [])}
    volumes = [*pod["spec"].get("volumes", []), *({"name": name, "emptyDir": {}} for name in sorted(missing))]
    return {**pod, "spec": {**pod["spec"], "volumes": volumes}}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_accepted_and_becomes_a_mirror(kube: Kube, example: Any) -> None:
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


def test_the_full_example_says_everything_that_can_be_said() -> None:
    spec = yaml.safe_load((REPOSITORY / "deploy" / "examples" / "full.yaml").read_text())["spec"]
    definition = yaml.safe_load((REPOSITORY / "deploy" / "crd.yaml").read_text())["spec"]
    known = definition["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert sorted(spec) == sorted(known)


def _text(kube: Kube, secret: str, key: str) -> str:
    return base64.b64decode(kube.get(resources.SECRET, secret)["data"][key]).decode()


def test_both_registrations_trust_the_webhooks_authority_and_are_put_right(shared: Running) -> None:
    kube = shared.kube
    authority = _text(kube, "registrymirror-webhook-ca", "tls.crt")
    for kind in (resources.MUTATING, resources.VALIDATING):
        webhooks = kube.get(kind, "registrymirror")["webhooks"]
        assert base64.b64decode(webhooks[0]["clientConfig"]["caBundle"]).decode() == authority
        kube.json_patch(kind, "registrymirror", {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"})
        _put_right(kube, kind, webhooks)


def _put_right(kube: Kube, kind: resources.Kind, webhooks: list[Json]) -> None:
    until(lambda: kube.get(kind, "registrymirror")["webhooks"] == webhooks, why=f"{kind.name} is put right")


def test_a_mirrors_certificate_does_not_pass_as_the_webhooks(shared: Running) -> None:
    assert _text(shared.kube, "registrymirror-ca", "tls.crt") != _text(
        shared.kube, "registrymirror-webhook-ca", "tls.crt"
    )


def test_no_secret_of_a_mirror_holds_an_authoritys_key(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    secret = kube.until_there(resources.SECRET, f"registry-mirror-{name}")
    keys = {_text(kube, authority, "tls.key") for authority in ("registrymirror-ca", "registrymirror-webhook-ca")}
    assert keys.isdisjoint({base64.b64decode(value).decode() for value in secret["data"].values()})
