"""Check that a real API server accepts the overlays, and that the programs accept their settings."""

from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING

import pytest
import yaml

from common import agent_protocol, cache_protocol, names
from common.settings import read
from common.version import VERSION
from controller.settings import ControllerSettings
from tests.localcluster.system import REPOSITORY
from webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from pathlib import Path

    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.kube import Kube

CREDENTIALS = ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")
OVERLAYS = ("hardened", "autoscaling")
ALONE_AND_TOGETHER = pytest.mark.parametrize("overlays", [*((each,) for each in OVERLAYS), OVERLAYS], ids="+".join)


@pytest.fixture
def with_overlays(tmp_path: Path, overlays: tuple[str, ...]) -> Path:
    """Return a kustomization with deploy/ and these overlays."""
    (tmp_path / "base").symlink_to(REPOSITORY / "deploy")
    body = {"resources": ["base"], "components": [f"base/overlays/{each}" for each in overlays]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return tmp_path


def built(kube: Kube, folder: Path) -> list[Json]:
    return list(yaml.safe_load_all(kube.kubectl("kustomize", str(folder))))


def container(objects: list[Json], program: str) -> Json:
    (found,) = (
        each
        for each in objects
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", f"registrymirror-{program}")
    )
    first: Json = found["spec"]["template"]["spec"]["containers"][0]
    return first


@ALONE_AND_TOGETHER
def test_overlay_is_accepted(kube: Kube, with_overlays: Path) -> None:
    """The images are those of the base."""
    objects = built(kube, with_overlays)
    printed = kube.kubectl("apply", "--dry-run=server", "-k", str(with_overlays))
    accepted = [line for line in printed.splitlines() if line.endswith("(server dry run)")]
    assert len(accepted) == len(objects), printed
    for program in ("webhook", "controller"):
        assert container(objects, program)["image"] == f"registry.example.com/registry-mirror/{program}:{VERSION}"


@pytest.mark.parametrize("overlays", [("hardened",)], ids="+".join)
def test_hardened_settings_are_valid(kube: Kube, with_overlays: Path) -> None:
    objects = built(kube, with_overlays)
    variables = {
        program: {each["name"]: each.get("value", "from-the-pod") for each in container(objects, program)["env"]}
        for program in ("webhook", "controller")
    }
    controller = read(ControllerSettings, variables["controller"])
    assert controller.secret_opt_in is True
    assert controller.masquerade_domains == ("mirror.internal",)
    assert read(WebhookSettings, variables["webhook"]).masquerade_domains == ("mirror.internal",)


@pytest.mark.parametrize("overlays", [("hardened",)], ids="+".join)
def test_hardened_egress_excludes_node_credentials(kube: Kube, with_overlays: Path) -> None:
    """Each egress policy selects the pods of one ingress policy."""
    policies = _policies(built(kube, with_overlays))
    base = {name: spec["podSelector"] for name, spec in policies.items() if "ingress" in spec}
    calls = {name: spec for name, spec in policies.items() if "egress" in spec}
    assert calls.keys() == {f"{name}-calls" for name in base} - {"registrymirror-webhook-calls"}
    for name, spec in calls.items():
        assert spec["podSelector"] == base[name.removesuffix("-calls")]
        assert _allows(spec, "203.0.113.7", 53), name
        assert _allows(spec, "203.0.113.7", 443), name
        assert _allows(spec, "2001:db8::7", 443), name
        # Metadata services of clouds. Some also serve DNS.
        for address, port in itertools.product(CREDENTIALS, (80, 443)):
            assert not _allows(spec, address, port), (name, address, port)


@pytest.mark.parametrize("overlays", [("hardened",)], ids="+".join)
def test_hardened_egress_reaches_our_pods(kube: Kube, with_overlays: Path) -> None:
    """The controller reaches the status of caches and agents. Caches reach each other."""
    policies = _policies(built(kube, with_overlays))
    caches, agents = (names.pod_labels("docker", each) for each in (names.REGISTRY, names.HOSTESS))
    controller = policies["registrymirror-controller-calls"]
    assert _reaches(controller, caches, cache_protocol.STATUS_PORT)
    assert _reaches(controller, agents, agent_protocol.STATUS_PORT)
    assert not _reaches(controller, caches, cache_protocol.PORT)
    assert not _allows(controller, "203.0.113.7", cache_protocol.STATUS_PORT)
    assert _reaches(policies["registrymirror-caches-calls"], caches, cache_protocol.PORT)
    assert _reaches(policies["registrymirror-hostess-calls"], caches, cache_protocol.PORT)


def _policies(objects: list[Json]) -> dict[str, Json]:
    return {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "NetworkPolicy"}


def _reaches(spec: Json, labels: Json, port: int) -> bool:
    """Return True if a policy allows egress to pods of its namespace with these labels."""
    peers = [peer for rule in _rules(spec, port) for peer in rule.get("to", [])]
    selected = [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
    return {"namespaceSelector": {}} in peers or any(each.items() <= labels.items() for each in selected)


def _rules(spec: Json, port: int) -> list[Json]:
    return [rule for rule in spec["egress"] if port in [each["port"] for each in rule.get("ports", [{"port": port}])]]


def _allows(spec: Json, address: str, port: int) -> bool:
    """Return True if a policy allows egress to an address that is not a pod's."""
    rules = _rules(spec, port)
    blocks = [peer["ipBlock"] for rule in rules for peer in rule.get("to", []) if "ipBlock" in peer]
    return any("to" not in rule for rule in rules) or any(
        _is_in(address, block["cidr"]) and not any(_is_in(address, each) for each in block["except"])
        for block in blocks
    )


def _is_in(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


@pytest.mark.parametrize("overlays", [("autoscaling",)], ids="+".join)
def test_apply_keeps_autoscaled_replicas(shared: Running, with_overlays: Path) -> None:
    kube = shared.kube
    (scaler,) = (each for each in built(kube, with_overlays) if each["kind"] == "HorizontalPodAutoscaler")
    only = [each for each in built(kube, with_overlays) if each["metadata"]["name"] == "registrymirror-webhook"]
    deployment = next(each for each in only if each["kind"] == "Deployment")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    kube.apply(deployment)
    try:
        kube.kubectl("scale", "deployment/registrymirror-webhook", "-n", "registry-mirror", "--replicas=4")
        kube.apply(deployment)
        output = kube.kubectl("get", "deployment/registrymirror-webhook", "-n", "registry-mirror", "-o", "yaml")
        assert yaml.safe_load(output)["spec"]["replicas"] == 4
    finally:
        kube.kubectl("delete", "deployment/registrymirror-webhook", "-n", "registry-mirror")
