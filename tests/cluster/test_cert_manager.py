"""With certificates from elsewhere nothing of ours is issued: the overlay for cert-manager, whose part the test plays.

cert-manager itself does not run here. Its kinds are served without a schema, and the test writes the Secrets and
caBundle that it would write, as its documentation says.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from controller import kinds
from controller.certificates import Pair, issue_authority, issue_leaf
from controller.lifetimes import Lifetimes
from deploy.local.cluster import Cluster
from deploy.local.pages import page
from deploy.local.system import REPOSITORY
from tests.cluster.conftest import Running
from tests.cluster.test_rights import requests
from tests.support.kube import Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]
CERTIFICATE = kinds.Kind("cert-manager.io/v1", "certificates", "Certificate")
ISSUER = kinds.Kind("cert-manager.io/v1", "issuers", "Issuer")
MIRRORS_TLS = "registrymirror-mirrors-tls"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster with deploy/ and the overlay; the controller has its settings, the webhook its certificate."""
    folder = tmp_path_factory.mktemp("managed")
    (folder / "base").symlink_to(REPOSITORY / "deploy")
    body = {"resources": ["base"], "components": ["base/overlays/cert-manager"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(body))
    with Cluster(tmp_path_factory.mktemp("cluster")).start() as cluster:
        running = Running(cluster, **_settings(cluster, folder))
        for kind in (CERTIFICATE, ISSUER):
            _serve(running.kube, kind)
        running.system.manifests = folder
        running.system.install()
        _issue_as_cert_manager_would(running.kube)
        running.system.start()
        yield running
        running.stop()


def _settings(cluster: Cluster, folder: Path) -> dict[str, str]:
    """What the overlay adds to the controller's environment."""
    for each in yaml.safe_load_all(cluster.run_kubectl("kustomize", str(folder)).stdout):
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "registrymirror-controller"):
            variables = each["spec"]["template"]["spec"]["containers"][0]["env"]
            ours = ("EXTERNAL_WEBHOOK_CERTIFICATE", "DOCKER_CERTIFICATE_SECRET")
            return {one["name"]: one["value"] for one in variables if one["name"] in ours}
    return {}


def _serve(kube: Kube, kind: kinds.Kind) -> None:
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": anything}
    names = {"kind": kind.name, "plural": kind.plural, "singular": kind.name.lower()}
    spec = {"group": "cert-manager.io", "scope": "Namespaced", "names": names, "versions": [version]}
    name = f"{kind.plural}.cert-manager.io"
    metadata = {"name": name}
    kube.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": spec,
        }
    )
    kube.kubectl("wait", "--for=condition=Established", f"crd/{name}")


def _issue_as_cert_manager_would(kube: Kube) -> None:
    """A Secret for each Certificate that is no authority's, and the injector's caBundle."""
    now = datetime.now(UTC)
    for each in kube.every(CERTIFICATE):
        if not each["spec"].get("isCA"):
            authority = issue_authority(each["spec"]["issuerRef"]["name"], now)
            leaf = issue_leaf(authority, each["spec"]["dnsNames"], now)
            kube.secret(each["spec"]["secretName"], **_data(leaf, authority))
            _inject(kube, f"{each['metadata']['namespace']}/{each['metadata']['name']}", authority)


def _data(leaf: Pair, authority: Pair) -> dict[str, str]:
    return {"tls.crt": leaf.certificate, "tls.key": leaf.key, "ca.crt": authority.certificate}


def _inject(kube: Kube, certificate: str, authority: Pair) -> None:
    bundle = base64.b64encode(authority.certificate.encode()).decode()
    for kind in (kinds.MUTATING, kinds.VALIDATING):
        live = kube.get(kind, "registrymirror")
        if live["metadata"]["annotations"].get("cert-manager.io/inject-ca-from") == certificate:
            add = {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}
            kube.json_patch(kind, "registrymirror", add)


def _mirror(kube: Kube, name: str, masquerade: str = "") -> None:
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com").known_as(masquerade or f"{name}.mirror.internal"))


def test_mirrors_are_admitted_and_served_and_nothing_of_ours_is_issued_or_published(managed: Running) -> None:
    kube = managed.kube
    before = {kind: kube.get(kind, "registrymirror") for kind in (kinds.MUTATING, kinds.VALIDATING)}
    _mirror(kube, "one")
    volumes = kube.until_there(kinds.STATEFUL_SET, "registry-mirror-one")["spec"]["template"]["spec"]["volumes"]
    assert MIRRORS_TLS in [each.get("secret", {}).get("secretName") for each in volumes]
    kube.until_condition("one", "CertificateValid", "True", "Valid")
    assert kube.find(kinds.SECRET, "registrymirror-ca") is None
    assert kube.find(kinds.SECRET, "registrymirror-webhook-ca") is None
    assert {kind: kube.get(kind, "registrymirror") for kind in before} == before
    made = requests(managed)
    assert not [each for each in made if each["objectRef"].get("apiGroup") == "admissionregistration.k8s.io"]
    secrets = [each["objectRef"].get("name") for each in made if each["objectRef"]["resource"] == "secrets"]
    assert {name for name in secrets if name} <= {"registry-mirror-one"}, "it writes that of the mirror alone"
    assert not [each for each in made if each.get("responseStatus", {}).get("code") == 403], "and lacks no right"


def test_a_mirror_whose_name_the_certificate_lacks_says_so(managed: Running) -> None:
    kube = managed.kube
    _mirror(kube, "other", "other.example.com")
    told = kube.until_condition("other", "CertificateValid", "False", "NameMissing")
    assert told.startswith(
        f"Secret {MIRRORS_TLS} (DOCKER_CERTIFICATE_SECRET) holds a certificate that is not for other"
    )


def test_a_certificate_of_a_persons_own_is_warned_of_before_its_end_and_called_ended_after(managed: Running) -> None:
    kube = managed.kube
    _mirror(kube, "ends")
    kube.until_condition("ends", "CertificateValid", "True", "Valid")
    _put(kube, 3 * DAY)
    kube.until_condition("ends", "CertificateValid", "True", "ExpiresSoon")
    until(lambda: "ExpiresSoon" in _warned(kube), why="an Event warns of it")
    assert kube.conditions("ends")["Ready"][1] not in ("ExpiresSoon", "Expired"), "the mirror still serves"
    (line,) = [each for each in _metrics(managed) if f'not_after_seconds{{secret="{MIRRORS_TLS}"}}' in each]
    assert 2 * DAY < datetime.fromtimestamp(float(line.split()[-1]), UTC) - datetime.now(UTC) <= 3 * DAY
    _put(kube, timedelta(seconds=4))
    kube.until_condition("ends", "CertificateValid", "True", "ExpiresSoon")
    kube.until_condition("ends", "CertificateValid", "False", "Expired")
    until(lambda: "Expired" in _warned(kube), why="an Event tells it")
    kube.delete(kinds.SECRET, MIRRORS_TLS)
    kube.until_condition("ends", "CertificateValid", "Unknown", "CertificateSecretMissing")


def _put(kube: Kube, life: timedelta) -> None:
    now = datetime.now(UTC)
    authority = issue_authority("cert-manager", now)
    leaf = issue_leaf(authority, ("*.mirror.internal",), now, Lifetimes(leaf=life))
    kube.patch(kinds.SECRET, MIRRORS_TLS, {"stringData": _data(leaf, authority)})


def _warned(kube: Kube) -> list[str]:
    return [reason for kind, reason, _ in kube.events("ends") if kind == "Warning"]


def _metrics(running: Running) -> list[str]:
    return (page(running.system.metrics_port, "/metrics") or "").splitlines()
