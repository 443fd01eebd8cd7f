"""Use certificates of cert-manager, with its overlay, in place of issued ones."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509

from common import cache_protocol
from controller.certificates.x509 import issue_ca, issue_certificate
from controller.model.certificate_lifetimes import Lifetimes
from controller.objects import resources
from tests.cluster.conftest import Running
from tests.cluster.test_rights import requests
from tests.localcluster.cert_manager import CertManager
from tests.localcluster.cluster import Cluster
from tests.localcluster.pages import page
from tests.localcluster.ports import LOOPBACK
from tests.localcluster.system import REPOSITORY
from tests.support.caches import running_caches
from tests.support.kube import Kube, text, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json

pytestmark = pytest.mark.slow

CERTIFICATE = resources.Kind("cert-manager.io/v1", "certificates", "Certificate")
CONFIGURATIONS = (resources.MUTATING, resources.VALIDATING)
MIRRORS_TLS = "registrymirror-mirrors-tls"
DAY = timedelta(days=1)


class Managed(Running):
    """Cluster with deploy/, the overlay and cert-manager."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        manifests = _with_overlay(folder)
        super().__init__(cluster, **_settings(cluster, manifests))
        self.system.manifests = manifests
        self.cert_manager = CertManager(cluster)


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """Yield a system with the overlay's settings and cert-manager's certificates."""
    with Cluster(tmp_path_factory.mktemp("cluster")).start() as cluster:
        running = Managed(cluster, tmp_path_factory.mktemp("managed"))
        running.cert_manager.install()
        running.cert_manager.start()
        running.system.install()
        until(lambda: _ready(running.kube), why="cert-manager issues and publishes")
        running.system.start()
        yield running
        running.stop()


def _with_overlay(folder: Path) -> Path:
    """Return the folder with a kustomization of deploy/ and the overlay."""
    (folder / "base").symlink_to(REPOSITORY / "deploy")
    body = {"resources": ["base"], "components": ["base/overlays/cert-manager"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return folder


def _settings(cluster: Cluster, folder: Path) -> dict[str, str]:
    """Return the variables that the overlay adds to the controller."""
    for each in yaml.safe_load_all(cluster.run_kubectl("kustomize", str(folder)).stdout):
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "registrymirror-controller"):
            variables = each["spec"]["template"]["spec"]["containers"][0]["env"]
            ours = ("EXTERNAL_WEBHOOK_CERTIFICATE", "DOCKER_CERTIFICATE_SECRET")
            return {one["name"]: one["value"] for one in variables if one["name"] in ours}
    return {}


def _ready(kube: Kube) -> bool:
    """Return True if all Certificates are issued and both configurations have a CA bundle."""
    conditions = [_condition(each, "Ready") for each in kube.every(CERTIFICATE)]
    bundles = [_bundle(kube, kind) for kind in CONFIGURATIONS]
    return len(conditions) == 4 and set(conditions) == {"True"} and all(bundles)


def _condition(current: Json, kind: str) -> str:
    every = current.get("status", {}).get("conditions", [])
    return next((each["status"] for each in every if each["type"] == kind), "")


def _bundle(kube: Kube, kind: resources.Kind) -> str:
    (webhook,) = kube.get(kind, "registrymirror")["webhooks"]
    return str(webhook["clientConfig"].get("caBundle", ""))


def _renew(kube: Kube, certificate: str) -> str:
    """Renew a certificate as `cmctl renew` does, and return it."""
    current, before = kube.get(CERTIFICATE, certificate), _issued(kube, certificate)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "lastTransitionTime": now}
    conditions = [*current["status"]["conditions"], asked]
    kube.patch(CERTIFICATE, certificate, {"status": {"conditions": conditions}}, subresource="status")
    until(lambda: not _condition(kube.get(CERTIFICATE, certificate), "Issuing"), why=f"{certificate} is issued again")
    assert _issued(kube, certificate) != before
    return _issued(kube, certificate)


def _issued(kube: Kube, certificate: str) -> str:
    return text(kube.get(resources.SECRET, kube.get(CERTIFICATE, certificate)["spec"]["secretName"]), "tls.crt").strip()


def _served(address: str, port: int) -> str:
    return ssl.get_server_certificate((address, port)).strip()


def _revision(kube: Kube, name: str) -> str:
    """Return the update revision, or an empty string if the template is not observed yet."""
    current = kube.find(resources.STATEFUL_SET, name) or {"metadata": {"generation": -1}}
    status = current.get("status", {})
    seen = status.get("observedGeneration") == current["metadata"]["generation"]
    return str(status.get("updateRevision", "")) if seen else ""


def _mirror(kube: Kube, name: str, masquerade: str = "") -> None:
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com").known_as(masquerade or f"{name}.mirror.internal"))


def test_controller_issues_and_publishes_nothing(managed: Managed) -> None:
    kube = managed.kube
    before = {kind: kube.get(kind, "registrymirror") for kind in CONFIGURATIONS}
    _mirror(kube, "one")
    volumes = kube.until_there(resources.STATEFUL_SET, "registry-mirror-one")["spec"]["template"]["spec"]["volumes"]
    assert MIRRORS_TLS in [each.get("secret", {}).get("secretName") for each in volumes]
    kube.until_condition("one", "CertificateValid", "True", "Valid")
    assert {kind: kube.get(kind, "registrymirror") for kind in before} == before
    made = requests(managed)
    assert not [each for each in made if each["objectRef"].get("apiGroup") == "admissionregistration.k8s.io"]
    secrets = [each["objectRef"].get("name") for each in made if each["objectRef"]["resource"] == "secrets"]
    assert {name for name in secrets if name} <= {"registry-mirror-one"}, "it writes that of the mirror alone"
    assert not [each for each in made if each.get("responseStatus", {}).get("code") == 403], "and lacks no right"


def test_reapplied_overlay_keeps_ca_bundle(managed: Managed) -> None:
    before = [_generation(managed.kube, kind) for kind in CONFIGURATIONS]
    managed.system.install()
    assert [_generation(managed.kube, kind) for kind in CONFIGURATIONS] == before


def _generation(kube: Kube, kind: resources.Kind) -> int:
    """Return the generation, which also counts changes that the injector has reverted."""
    return int(kube.get(kind, "registrymirror")["metadata"]["generation"])


def test_webhook_reloads_renewed_certificate(managed: Managed) -> None:
    renewed = _renew(managed.kube, "registrymirror-webhook")
    until(lambda: _served(LOOPBACK, managed.system.webhook_port) == renewed, why="the webhook serves with it")
    assert managed.system.processes.alive("webhook")
    _mirror(managed.kube, "after")


def test_running_cache_follows_renewed_certificate(managed: Managed) -> None:
    kube, name = managed.kube, "registry-mirror-followed"
    kube.mirror(a_mirror().named("followed").of("127.0.0.1:1").known_as("followed.mirror.internal").replicated(1))
    with running_caches(managed, "followed") as caches:
        kube.until_condition("followed", "CacheAvailable", "True", "AllReplicasReady")
        pid, revision = caches[0].pid, until(lambda: _revision(kube, name), why="the StatefulSet is seen")
        renewed = _renew(kube, "registrymirror-mirrors")
        until(lambda: _served(caches[0].address, cache_protocol.PORT) == renewed, why="the cache serves with it")
        kube.until_condition("followed", "CertificateValid", "True", "Valid")
        assert caches[0].pid == pid
    assert _revision(kube, name) == revision, "no pod restarts"


@pytest.mark.parametrize(
    ("ca", "serving"),
    [("registrymirror-webhook-ca", "registrymirror-webhook"), ("registrymirror-ca", "registrymirror-mirrors")],
)
def test_renewed_ca_keeps_its_key(managed: Managed, ca: str, serving: str) -> None:
    """Nodes and API server may know only one of the two CAs for a while."""
    kube = managed.kube
    former, signed = (x509.load_pem_x509_certificate(_issued(kube, each).encode()) for each in (ca, serving))
    renewed, fresh = (x509.load_pem_x509_certificate(_renew(kube, each).encode()) for each in (ca, serving))
    assert former != renewed
    assert _key_identifier(former) == _key_identifier(renewed)
    for each in (former, renewed):
        signed.verify_directly_issued_by(each)
        fresh.verify_directly_issued_by(each)


def _key_identifier(ca: x509.Certificate) -> bytes:
    """Return the identifier by which some libraries find a CA."""
    return ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_missing_host_name_is_reported(managed: Managed) -> None:
    kube = managed.kube
    _mirror(kube, "other", "other.example.com")
    message = kube.until_condition("other", "CertificateValid", "False", "NameMissing")
    assert message.startswith(f"The certificate in Secret {MIRRORS_TLS} (DOCKER_CERTIFICATE_SECRET) is not for other")


def test_given_certificate_expiry_is_reported(managed: Managed) -> None:
    kube = managed.kube
    _mirror(kube, "ends")
    kube.until_condition("ends", "CertificateValid", "True", "Valid")
    managed.cert_manager.stop()  # it would replace this one
    _put(kube, 3 * DAY)
    kube.until_condition("ends", "CertificateValid", "True", "ExpiresSoon")
    until(lambda: "ExpiresSoon" in _warned(kube), why="an Event warns of it")
    assert kube.conditions("ends")["Ready"][1] not in ("ExpiresSoon", "Expired"), "the mirror still serves"
    (line,) = [each for each in _metrics(managed) if f'expiration_timestamp_seconds{{secret="{MIRRORS_TLS}"}}' in each]
    assert 2 * DAY < datetime.fromtimestamp(float(line.split()[-1]), UTC) - datetime.now(UTC) <= 3 * DAY
    _put(kube, timedelta(seconds=4))
    kube.until_condition("ends", "CertificateValid", "True", "ExpiresSoon")
    kube.until_condition("ends", "CertificateValid", "False", "Expired")
    until(lambda: "Expired" in _warned(kube), why="an Event tells it")
    kube.delete(resources.SECRET, MIRRORS_TLS)
    kube.until_condition("ends", "CertificateValid", "Unknown", "CertificateSecretMissing")
    managed.cert_manager.start()
    kube.until_condition("ends", "CertificateValid", "True", "Valid")


def test_installation_switches_to_cert_manager(own: Running, tmp_path: Path) -> None:
    kube, system, cert_manager = own.kube, own.system, CertManager(own.cluster)
    _mirror(kube, "early")
    kube.until_condition("early", "CertificateValid", "True", "Valid")
    cert_manager.install()
    cert_manager.start()
    system.manifests = _with_overlay(tmp_path)
    system.install()
    system.processes.stop(["controller"])
    until(lambda: _ready(kube), why="cert-manager takes over")
    system.start_controller(**_settings(own.cluster, tmp_path))
    until(lambda: MIRRORS_TLS in kube.conditions("early")["CertificateValid"][2], why="the mirror serves with it")
    until(
        lambda: _served(LOOPBACK, own.system.webhook_port) == _issued(kube, "registrymirror-webhook"),
        why="the webhook serves with it",
    )
    _mirror(kube, "late")


def _put(kube: Kube, life: timedelta) -> None:
    now = datetime.now(UTC)
    ca = issue_ca("cert-manager", now)
    serving = issue_certificate(ca, ("*.mirror.internal",), now, Lifetimes(certificate=life))
    data = {"tls.crt": serving.certificate, "tls.key": serving.key, "ca.crt": ca.certificate}
    kube.patch(resources.SECRET, MIRRORS_TLS, {"stringData": data})


def _warned(kube: Kube) -> list[str]:
    return [reason for kind, reason, _ in kube.events("ends") if kind == "Warning"]


def _metrics(running: Running) -> list[str]:
    return (page(running.system.metrics_port, "/metrics") or "").splitlines()
