"""Test what the chart renders: the manifests of deploy/, the overlays, and what a real API server accepts."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from common import names
from common.version import VERSION
from controller.certificates.x509 import covers
from controller.desired.agent_nodes import VIRTUAL
from deploy import manifests
from tests import documents
from tests.localcluster.cluster import Cluster
from tests.localcluster.system import REPOSITORY
from tests.support.helm import BASE, EXAMPLES, Helm, by_name, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json

OVERLAYS = ("hardened", "cert-manager", "autoscaling", "monitoring")
# The cluster of this test lacks these kinds.
MISSING = ("cert-manager.io/v1", "monitoring.coreos.com/v1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start an API server with the namespace, the CRD and the PriorityClasses."""
    with Cluster(tmp_path_factory.mktemp("chart")).start(controllers=False, scheduler=False) as cluster:
        for name in ("namespace", "crd", "priority"):
            cluster.run_kubectl("apply", f"--filename={REPOSITORY}/deploy/{name}.yaml")
        # The pod of `helm test` needs it, and no controller creates it here.
        cluster.run_kubectl("create", "serviceaccount", "default", "--namespace=registry-mirror")
        yield cluster


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Provide helm without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


def test_manifests_are_rendered_from_chart(helm: Helm) -> None:
    for path, content in manifests.rendered(helm.binary).items():
        assert path.read_text() == content, "run `make manifests`"


def test_lint_finds_nothing(helm: Helm) -> None:
    for values in EXAMPLES.glob("*.yaml"):
        helm.run("lint", "--strict", manifests.CHART, f"--values={values}")


@pytest.mark.parametrize("overlay", ["", *OVERLAYS])
def test_overlay_equals_values(helm: Helm, cluster: Cluster, tmp_path: Path, overlay: str) -> None:
    """The patches of an overlay and the values of its name give the same objects."""
    (tmp_path / "base").symlink_to(REPOSITORY / "deploy")
    components = [f"base/overlays/{overlay}"] if overlay else []
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["base"], "components": components}))
    built = list(yaml.safe_load_all(cluster.run_kubectl("kustomize", str(tmp_path)).stdout))
    values = [EXAMPLES / f"{overlay}.yaml"] if overlay else []
    assert sorted_variables(by_name(built)) == sorted_variables(by_name(helm.template(BASE, *values, IMAGES)))


def sorted_variables(objects: dict[tuple[str, str], Json]) -> dict[tuple[str, str], Json]:
    """Sort the variables of each container: kustomize puts those of a patch first."""
    for (kind, _), each in objects.items():
        if kind == "Deployment":
            for container in each["spec"]["template"]["spec"]["containers"]:
                container["env"].sort(key=lambda variable: variable["name"])
    return objects


# As in deploy/kustomization.yaml.
IMAGES = {
    name: {"image": {"repository": f"registry.example.com/registry-mirror/{name}"}}
    for name in ("webhook", "controller")
}


@pytest.mark.parametrize("values", sorted(EXAMPLES.glob("*.yaml")), ids=lambda each: each.stem)
def test_examples_are_accepted(helm: Helm, cluster: Cluster, values: Path) -> None:
    """The API server accepts each object; hooks are tried too."""
    objects = [each for each in helm.template(values, hooks=True) if each["apiVersion"] not in MISSING]
    printed = cluster.run_kubectl("apply", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump_all(objects)).stdout
    assert printed.count("(server dry run)") == len(objects)


def former_crd() -> Json:
    """Return a CRD without metadata of Helm, which accepts any spec as that of mirror-operator."""
    crd: Json = yaml.safe_load((REPOSITORY / "deploy" / "crd.yaml").read_text())
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything
    return crd


@pytest.mark.parametrize("document", ["migration", "install"])
def test_documented_command_takes_over(helm: Helm, tmp_path: Path, document: str) -> None:
    """Helm takes over a foreign CRD, and all objects of `kubectl apply -k`. An upgrade creates no mirror."""
    commands = documents.commands(f"docs/{document}.md")
    (command,) = (each.text for each in commands if "--take-ownership" in each.text)
    with Cluster(tmp_path / "cluster").start(controllers=False, scheduler=False) as cluster:
        if document == "migration":
            cluster.run_kubectl("create", "--filename=-", stdin=yaml.safe_dump(former_crd()))
        else:
            cluster.run_kubectl("apply", f"--kustomize={REPOSITORY}/deploy")
        plain = command.replace("--take-ownership", "").replace("--force-conflicts", "")
        assert "invalid ownership metadata" in run(cluster, helm, plain).stderr
        installed = run(cluster, helm, command)
        assert installed.returncode == 0, installed.stderr
        assert "rm/docker" in installed.stdout
        (upgrade,) = (
            each.text
            for each in documents.commands("docs/install.md")
            if each.section == "Upgrade" and "helm" in each.text
        )
        namespace = "default" if document == "migration" else manifests.RELEASE
        upgraded = run(cluster, helm, upgrade.replace("--namespace registry-mirror", f"--namespace {namespace}"))
        assert upgraded.returncode == 0, upgraded.stderr
        assert "rm/docker" not in upgraded.stdout
        image = "jsonpath={.items[*].spec.template.spec.containers[*].image}"
        images = cluster.run_kubectl("get", "deployments", f"--namespace={namespace}", "--output", image).stdout.split()
        assert [each.partition("/")[0] for each in images] == ["registry.other.example.com"] * 2
        crd = yaml.safe_load(cluster.run_kubectl("get", "crd", f"{names.PLURAL}.{names.GROUP}", "--output=yaml").stdout)
        assert crd["metadata"]["annotations"].items() >= {"meta.helm.sh/release-name": manifests.RELEASE}.items()
        assert "spec" in crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def test_documented_way_out_leaves_no_drain(helm: Helm, tmp_path: Path) -> None:
    """The drain cannot start, as with an image that cannot be pulled, and no controller releases the mirror."""
    document = (REPOSITORY / "docs" / "install.md").read_text()
    (row,) = (line for line in document.splitlines() if "image of the controller cannot be pulled" in line)
    way_out = [each.replace("NAME", "docker") for each in re.findall(r"`((?:kubectl|helm) [^`]+)`", row.split("|")[3])]
    with Cluster(tmp_path / "cluster").start(controllers=False, scheduler=False) as cluster:
        cluster.run_kubectl("create", f"--filename={REPOSITORY}/deploy/crd.yaml")
        mirror = yaml.safe_load((REPOSITORY / "deploy" / "examples" / "docker.yaml").read_text())
        mirror["metadata"]["finalizers"] = ["k8s.osp.tech/nodes"]
        cluster.run_kubectl("create", "--filename=-", stdin=yaml.safe_dump(mirror))
        (command,) = (each.text for each in documents.commands("docs/install.md") if "--take-ownership" in each.text)
        # The policy may know the mirror for a moment after its deletion.
        command = f"{command} --create-namespace --set deletionProtection.enabled=false"
        assert run(cluster, helm, command).returncode == 0
        failed = run(cluster, helm, "helm uninstall registry-mirror --namespace registry-mirror --timeout 5s")
        assert failed.returncode != 0
        assert drains(cluster) == ["job.batch/registrymirror-drain"]
        # An interrupted helm leaves it too.
        role = ("clusterrole", "registrymirror-drain", "--verb=delete", f"--resource={names.PLURAL}.{names.GROUP}")
        cluster.run_kubectl("create", *role)
        for each in way_out:
            done = run(cluster, helm, each)
            assert done.returncode == 0, f"{each}: {done.stderr}"
        assert drains(cluster) == []
        assert "registrymirror" not in cluster.run_kubectl("get", "clusterroles", "--output=name").stdout


def drains(cluster: Cluster) -> list[str]:
    """Return the objects of the drain."""
    kinds = "jobs,clusterroles,clusterrolebindings"
    found = cluster.run_kubectl("get", kinds, "--namespace=registry-mirror", "--output=name").stdout.split()
    return [each for each in found if each.endswith("/registrymirror-drain")]


def run(cluster: Cluster, helm: Helm, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the documents without a wait for pods, which this cluster does not run."""
    environment = {**cluster.shell_environment, "REGISTRY": "registry.other.example.com"}
    environment["PATH"] = f"{helm.binary.parent}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", re.sub(r"--wait(?!=)", "", command)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_image_is_one_value(helm: Helm) -> None:
    """Registry, tag and digest reach pods and variables alike."""
    digest = "sha256:" + "a" * 64
    images = {"image": {"tag": "2.0", "digest": digest}}
    objects = by_name(
        helm.template({"global": {"imageRegistry": "r.example:5000/team"}, "controller": images, "agent": images})
    )
    container = objects["Deployment", "registrymirror-controller"]["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"] == f"r.example:5000/team/registry-mirror/controller:2.0@{digest}"
    assert variables["HOSTESS_IMAGE"] == f"r.example:5000/team/registry-mirror/hostess:2.0@{digest}"
    assert variables["CACHE_IMAGE"] == f"r.example:5000/team/registry-mirror/cache:{VERSION}"


def test_settings_become_variables(helm: Helm) -> None:
    values = {
        "global": {"masqueradeDomains": ["a.internal", "b.internal"], "imagePullSecrets": [{"name": "pull"}]},
        "controller": {"settings": {"nodeCleanupDeadline": 200, "secretOptIn": True, "caLifetime": "9000h"}},
        "webhook": {"settings": {"logLevel": "DEBUG"}},
        "agent": {"nodeSelector": {"pool": "a", "disk": "b"}},
    }
    objects = by_name(helm.template(values))
    controller, webhook = (_variables(objects, name) for name in ("controller", "webhook"))
    assert (
        controller.items()
        >= {
            "NODE_CLEANUP_DEADLINE": "200",
            "SECRET_OPT_IN": "true",
            "CA_LIFETIME": "9000h",
            "MASQUERADE_DOMAINS": "a.internal,b.internal",
            "IMAGE_PULL_SECRETS": "pull",
            "HOSTESS_NODE_SELECTOR": "disk=b,pool=a",
        }.items()
    )
    assert (webhook["LOG_LEVEL"], webhook["MASQUERADE_DOMAINS"]) == ("DEBUG", "a.internal,b.internal")


def _variables(objects: dict[tuple[str, str], Json], program: str) -> Json:
    (container,) = objects["Deployment", f"registrymirror-{program}"]["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("controller.settings.nodeCleanupDeadline=3601", "nodeCleanupDeadline"),
        ("controller.settings.caLifetime=10y", "caLifetime"),
        ("global.masqueradeDomains={not a domain}", "masqueradeDomains"),
        ("agent.nodeSelector=a in ()", "nodeSelector"),
        ("webhook.image.digest=1.0", "digest"),
        ("controler.replicas=3", "controler"),
        ("controller.settings.nodeCleanupDeadline=240", "drain.timeoutSeconds (240)"),
        ("drain.timeoutSeconds=120", "controller.settings.nodeCleanupDeadline (120)"),
        ("webhook.autoscaling.enabled=true,webhook.autoscaling.minReplicas=7", "maxReplicas (6)"),
    ],
)
def test_helm_refuses_wrong_values(helm: Helm, value: str, named: str) -> None:
    """Helm names the value before anything is installed."""
    done = helm.run("template", manifests.RELEASE, manifests.CHART, "--set", value, check=False)
    assert done.returncode != 0
    assert named in done.stderr


def test_classes_are_left_out_without_create(helm: Helm) -> None:
    """Kubernetes refuses pods that name a missing PriorityClass. A given name stays."""
    values = {"priorityClasses": {"create": False}, "controller": {"priorityClassName": "given"}}
    objects = by_name(helm.template(values))
    named = {name: _pod(objects, name).get("priorityClassName") for name in ("webhook", "controller", "dialer")}
    assert named == {"webhook": None, "controller": "given", "dialer": None}
    assert "HOSTESS_PRIORITY_CLASS" not in _variables(objects, "controller")


@pytest.mark.parametrize(
    ("selector", "labels", "excluded"),
    [
        (
            {"kubernetes.io/os": "windows", "node-role.kubernetes.io/worker": ""},
            {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""},
            list(VIRTUAL),
        ),
        (
            {"type": "virtual-kubelet"},
            {"kubernetes.io/os": "linux", "type": "virtual-kubelet"},
            ["eks.amazonaws.com/compute-type", "liqo.io/type"],
        ),
        (dict(VIRTUAL), {"kubernetes.io/os": "linux", **VIRTUAL}, []),
        ("pool=a", {"kubernetes.io/os": "linux"}, list(VIRTUAL)),
    ],
    ids=str,
)
def test_dialer_runs_beside_agents(helm: Helm, selector: Json | str, labels: Json, excluded: list[str]) -> None:
    """The dialer needs the labels of `agent.nodeSelector`. It leaves out virtual nodes whose label is not named."""
    pod = _pod(by_name(helm.template({"agent": {"nodeSelector": selector}})), "dialer")
    assert pod["nodeSelector"] == labels
    assert pod.get("affinity") == (node_affinity({key: VIRTUAL[key] for key in excluded}) if excluded else None)


def node_affinity(excluded: dict[str, str]) -> Json:
    """Return an affinity without the nodes of these labels, in the order of Helm."""
    expressions = [{"key": key, "operator": "NotIn", "values": [excluded[key]]} for key in sorted(excluded)]
    terms = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


@pytest.mark.parametrize(
    ("labels", "rendered"),
    [
        ({"team": "a"}, {"grafana_dashboard": "1", "team": "a"}),
        ({"grafana_dashboard": "yes"}, {"grafana_dashboard": "yes"}),
    ],
)
def test_label_of_dashboard_can_be_replaced(helm: Helm, labels: Json, rendered: Json) -> None:
    values = {"monitoring": {"dashboard": {"enabled": True, "labels": labels}}}
    found = by_name(helm.template(values))["ConfigMap", "registrymirror-dashboard"]
    assert found["metadata"]["labels"] == rendered


def test_labels_of_chart_win(helm: Helm) -> None:
    labels = {"app.kubernetes.io/name": "other", "app.kubernetes.io/version": "other", "team": "a"}
    objects = by_name(helm.template({name: {"podLabels": labels} for name in ("webhook", "controller")}))
    for name in ("webhook", "controller"):
        workload = objects["Deployment", f"registrymirror-{name}"]["spec"]
        found = workload["template"]["metadata"]["labels"]
        assert found.items() >= {**workload["selector"]["matchLabels"], "team": "a"}.items()
        assert found["app.kubernetes.io/version"] != "other"


def _pod(objects: dict[tuple[str, str], Json], program: str) -> Json:
    kind = "DaemonSet" if program == "dialer" else "Deployment"
    spec: Json = objects[kind, f"registrymirror-{program}"]["spec"]["template"]["spec"]
    return spec


def test_numbers_as_names_stay_texts(helm: Helm) -> None:
    """YAML would read an unquoted `123` as a number, which the API server refuses."""
    values = [f"--values={each}" for each in EXAMPLES.glob("*.yaml")]
    printed = helm.run(
        "template", "123", manifests.CHART, *values, "--set=namespace.create=true", namespace="456"
    ).stdout
    numbers = [
        f"{each['kind']} {path}"
        for each in parse(printed)
        if each["kind"] != "CustomResourceDefinition"
        for path, value in leaves(each)
        if value in (123, 456)
    ]
    assert numbers == []


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values that have no parts."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, f"{path}.{key}")
    else:
        yield path, value


@pytest.mark.parametrize("values", sorted(EXAMPLES.glob("*.yaml")), ids=lambda each: each.stem)
def test_mirror_of_notes_has_a_certificate(helm: Helm, values: Path) -> None:
    """The names of cert-manager's certificate cover it. The controller issues certificates for all names."""
    spec = first_mirror(helm, values)["spec"]
    found = by_name(helm.template(values)).get(("Certificate", "registrymirror-mirrors"))
    assert found is None or covers(found["spec"]["dnsNames"], spec["masqueradeUrl"])


@pytest.mark.parametrize(
    ("domains", "dns_names", "masquerade"),
    [
        ([], ["docker.example.com", "*.internal"], "docker.example.com"),
        (["other.internal"], ["*.mirror.internal"], "docker.mirror.internal"),
        (["*.mirror.internal"], [], "docker.mirror.internal"),
        ([], [], None),
    ],
)
def test_notes_choose_a_name(helm: Helm, domains: list[str], dns_names: list[str], masquerade: str | None) -> None:
    """The first name of the certificate, or a name below the first domain."""
    names = {"certManager": {"enabled": True, "dnsNames": dns_names}, "global": {"masqueradeDomains": domains}}
    assert first_mirror(helm, names)["spec"].get("masqueradeUrl") == masquerade


def first_mirror(helm: Helm, values: Path | Json) -> Json:
    """Return the mirror in the notes."""
    given = f"--set-json={json.dumps(values)}" if isinstance(values, dict) else f"--values={values}"
    printed = helm.run("install", manifests.RELEASE, manifests.CHART, "--dry-run=client", given).stdout
    (mirror,) = parse(printed.partition("<<EOF\n")[2].partition("\nEOF\n")[0])
    return mirror


def test_namespace_of_release_is_everywhere(helm: Helm) -> None:
    values = f"--values={EXAMPLES}/cert-manager.yaml"
    ours, other = (
        helm.run("template", "x", manifests.CHART, values, namespace=each).stdout
        for each in (manifests.RELEASE, "other")
    )
    assert "namespace: registry-mirror" not in other
    assert ours.count("namespace: registry-mirror") == other.count("namespace: other") > 10
