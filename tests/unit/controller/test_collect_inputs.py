"""Collect the inputs of a mirror from the cluster cache."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from controller.certificates.mirror_certificate import pair_in
from controller.certificates.x509 import is_for, issue_ca, issue_certificate, issued_by
from controller.informer.cluster_cache import ClusterCache, text_of
from controller.model.certificate_lifetimes import DEFAULT
from controller.model.inputs import (
    Credentials,
    CredentialsState,
    Inputs,
    KeyPair,
    MissingInput,
    ServingCertificate,
)
from controller.objects import resources
from controller.objects.well_known import ADMISSION_KEY, MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE
from controller.reconcile.collect_inputs import UPSTREAMS_ANNOTATION, collect_inputs
from tests.support.controller import encoded, parsed, settings, stored
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from controller.objects.resources import Kind

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CA = issue_ca("registry mirrors", NOW)
LOGIN = a_mirror().logging_in_with("login")


class World:
    """Cluster cache with some objects, and the keys that it requeued."""

    def __init__(self, **variables: str) -> None:
        self.settings = settings(**variables)
        self.requeued: list[str] = []
        shared = self.settings.docker_certificate_secret
        self.state = ClusterCache(self.requeued.append, shared_secrets=frozenset({shared} if shared else ()))
        self._version = 0

    def secret(self, name: str, **values: str | bytes) -> World:
        """Add a Secret; `_` stands for the dot of a key."""
        encoded = {key.replace("_", "."): _encoded(value) for key, value in values.items()}
        self.state.secrets.put(self._named(name, data=encoded))
        return self

    def pair(self, name: str, pair: KeyPair, **more: str) -> World:
        """Add a Secret with certificate and key."""
        return self.secret(name, tls_crt=pair.certificate, tls_key=pair.key, **more)

    def mirror(self, name: str = "docker", **metadata: Any) -> World:
        """Add a mirror with the credentials Secret `login`."""
        self._version += 1
        obj = stored(LOGIN.named(name), created=f"2026-01-01T00:00:{self._version:02}Z")
        obj["metadata"] |= {"resourceVersion": str(self._version), **metadata}
        self.state.mirrors.put(obj)
        return self

    def seen(self, kind: Kind, name: str) -> World:
        """Add an object."""
        self.state.children[kind].put(self._named(name))
        return self

    def collect_inputs(self, now: datetime = NOW) -> Inputs | MissingInput:
        """Return the inputs of the mirror `docker`."""
        return collect_inputs(parsed(LOGIN), self.settings, self.state, now)

    def inputs(self, now: datetime = NOW) -> Inputs:
        """Return the inputs; nothing may be missing."""
        found = self.collect_inputs(now)
        assert isinstance(found, Inputs), found
        return found

    def woken(self) -> set[str]:
        """Return the keys requeued since the last call."""
        keys = set(self.requeued)
        self.requeued.clear()
        return keys

    def _named(self, name: str, **more: Any) -> Json:
        self._version += 1
        return {"metadata": {"name": name, "resourceVersion": str(self._version)}, **more}


def _encoded(value: str | bytes) -> str:
    return encoded(value.encode() if isinstance(value, str) else value)


def _ready(**variables: str) -> World:
    return World(**variables).pair(MIRRORS_CA, CA)


# Certificates


def test_ca_missing_is_reported() -> None:
    assert World().collect_inputs() == MissingInput("CAPending", "The CA of the mirrors is being created.")


def test_ca_failure_is_reported() -> None:
    world = World()
    world.state.report_ca_failure("a quota")
    found = world.collect_inputs()
    assert isinstance(found, MissingInput)
    assert (found.reason, found.message.endswith(" a quota")) == ("CAFailed", True)
    assert isinstance(world.pair(MIRRORS_CA, CA).collect_inputs(), Inputs)


def test_ca_signs_until_its_end() -> None:
    """A due CA still signs: the next one may not be storable, or the clock may be wrong."""
    assert isinstance(_ready().collect_inputs(NOW + timedelta(days=3500)), Inputs)
    found = _ready().collect_inputs(NOW + timedelta(days=3650))
    assert isinstance(found, MissingInput)
    assert found.reason == "CAPending"


def test_certificate_covers_all_names_and_is_kept() -> None:
    world = _ready(NAMESPACE="mirrors")
    issued = world.inputs().tls
    service = "registry-mirror-docker.mirrors"
    hosts = ("mirror-quay.io", service, f"{service}.svc", f"{service}.svc.cluster.local")
    assert is_for(issued.pair, hosts)
    assert issued_by(issued.pair.certificate, CA.certificate)
    assert (issued.ca, issued.secret) == (CA.certificate, None)
    world.pair("registry-mirror-docker", issued.pair)
    assert world.inputs().tls == issued
    due = NOW + DEFAULT.certificate - DEFAULT.certificate_lead
    assert world.inputs(due).tls.pair == issued.pair
    assert issued.again == (due - NOW).total_seconds()


def test_certificate_is_renewed_before_its_end() -> None:
    world = _ready()
    issued = world.inputs().tls.pair
    world.pair("registry-mirror-docker", issued)
    assert world.inputs(NOW + DEFAULT.certificate - DEFAULT.certificate_lead + timedelta(seconds=1)).tls.pair != issued


def test_former_ca_is_trusted_for_an_overlap() -> None:
    """Caches read the new certificate within two minutes, so nodes need both CAs until then."""
    former = issue_ca("registry mirrors", NOW).certificate
    world = _ready()
    serving = world.inputs().tls.pair
    world.pair("registry-mirror-docker", serving, ca_crt=CA.certificate + former)

    def after(seconds: float) -> ServingCertificate:
        found = collect_inputs(parsed(LOGIN), world.settings, world.state, NOW, partial(_so_for, seconds))
        assert isinstance(found, Inputs)
        assert found.tls.pair == serving
        return found.tls

    overlap = DEFAULT.overlap.total_seconds()
    assert (after(0).ca, after(0).again) == (CA.certificate + former, overlap)
    assert (after(overlap - 1).ca, after(overlap - 1).again) == (CA.certificate + former, 1)
    assert after(overlap).ca == CA.certificate


def _so_for(seconds: float, what: object) -> float:
    return 0.0 if what is None else seconds


@pytest.mark.parametrize(
    "present",
    [
        issue_certificate(CA, ("other.example",), NOW),
        issue_certificate(issue_ca("registry mirrors", NOW), ("mirror-quay.io",), NOW),
        KeyPair("garbled", "garbled"),
    ],
    ids=["of other hosts", "of another CA", "garbled"],
)
def test_unusable_certificate_is_replaced(present: KeyPair) -> None:
    assert _ready().pair("registry-mirror-docker", present).inputs().tls.pair != present


def test_given_certificate_is_preferred() -> None:
    own = issue_certificate(CA, ("mirror-quay.io",), NOW)
    world = _ready(DOCKER_CERTIFICATE_SECRET="wildcard")
    tls = world.pair("wildcard", own).inputs().tls
    assert (tls.pair, tls.secret, tls.ca) == (own, "wildcard", own.certificate)
    world.pair("wildcard", own, ca_crt="their CA")
    assert world.inputs().tls.ca == "their CA"


@pytest.mark.parametrize(
    ("values", "reason", "named"),
    [
        (None, "CertificateSecretMissing", "does not exist"),
        ({}, "CertificateSecretMissing", "tls.crt or tls.key"),
        ({"tls_crt": "x"}, "CertificateSecretMissing", "tls.crt or tls.key"),
        ({"tls_crt": "x", "tls_key": b"\xff"}, "CertificateSecretMissing", "tls.crt or tls.key"),
        ({"tls_crt": "x", "tls_key": "y"}, "CertificateSecretInvalid", "no matching tls.crt and tls.key"),
    ],
)
def test_given_certificate_missing_is_reported(values: dict[str, str | bytes] | None, reason: str, named: str) -> None:
    world = _ready(DOCKER_CERTIFICATE_SECRET="wildcard")
    if values is not None:
        world.secret("wildcard", **values)
    found = world.collect_inputs()
    assert isinstance(found, MissingInput)
    assert found.reason == reason
    assert "Secret wildcard (DOCKER_CERTIFICATE_SECRET)" in found.message
    assert named in found.message


# The CA bundle


@pytest.mark.parametrize("data", [None, {}, {"other": "x"}, {"ca-certificates.crt": None}])
def test_ca_bundle_missing_is_reported(data: Json | None) -> None:
    world = _ready(CA_CERTIFICATE_BUNDLE="company", NAMESPACE="mirrors")
    if data is not None:
        world.state.bundles.put(world._named("company", data=data))
    found = world.collect_inputs()
    assert isinstance(found, MissingInput)
    assert found.reason == "CABundleMissing"
    assert "ConfigMap mirrors/company (CA_CERTIFICATE_BUNDLE)" in found.message


def test_ca_bundle_is_found() -> None:
    world = _ready(CA_CERTIFICATE_BUNDLE="company")
    world.state.bundles.put(world._named("company", data={"ca-certificates.crt": "the company's"}))
    assert isinstance(world.collect_inputs(), Inputs)


# Credentials


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (None, Credentials(CredentialsState.SECRET_MISSING)),
        ({}, Credentials(CredentialsState.SECRET_INCOMPLETE)),
        ({"username": "bob"}, Credentials(CredentialsState.SECRET_INCOMPLETE, lacking="password")),
        ({"username": "bob", "password": ""}, Credentials(CredentialsState.SECRET_INCOMPLETE, lacking="password")),
        ({"username": "", "password": "x"}, Credentials(CredentialsState.SECRET_INCOMPLETE, lacking="username")),
        (
            {"username": "bob", "password": b"\xff\x00\n"},
            Credentials(CredentialsState.FOUND, _encoded("bob"), _encoded(b"\xff\x00\n")),
        ),
    ],
)
def test_credentials_are_read_from_the_secret(values: dict[str, str | bytes] | None, found: Credentials) -> None:
    world = _ready()
    if values is not None:
        world.secret("login", **values)
    assert world.inputs().credentials == (found,)


def test_each_upstream_has_its_own_secret() -> None:
    """SECRET_OPT_IN counts for each upstream. A change of any of the Secrets requeues the mirror."""
    world = _ready(SECRET_OPT_IN="true").secret("ghcr-login", username="bob", password="x")
    annotated = {"annotations": {UPSTREAMS_ANNOTATION: "quay.io, docker.io"}}
    secret = world.state.secrets.get("ghcr-login")
    assert secret is not None
    for number, name in enumerate(("quay-login", "docker-login")):
        metadata = {**secret["metadata"], "name": name, "resourceVersion": str(100 + number), **annotated}
        world.state.secrets.put({**secret, "metadata": metadata})
    builder = (
        a_mirror()
        .logging_in_with("quay-login")
        .also_of(
            {"upstreamUrl": "ghcr.io", "credentialsSecret": "ghcr-login"},
            {"upstreamUrl": "gcr.io", "credentialsSecret": "docker-login"},
            {"upstreamUrl": "hub.docker.com", "credentialsSecret": "docker-login"},
            "registry.k8s.io",
        )
    )
    world.state.mirrors.put(stored(builder))
    found = collect_inputs(parsed(builder), world.settings, world.state, NOW)
    assert isinstance(found, Inputs)
    assert [each.state.name for each in found.credentials] == [
        *("FOUND", "SECRET_NOT_OPTED_IN", "SECRET_NOT_OPTED_IN", "FOUND", "NOT_REQUIRED")
    ]
    for number, name in enumerate(("quay-login", "ghcr-login", "docker-login")):
        world.woken()
        changed = world.state.secrets.get(name)
        assert changed is not None
        changed["metadata"]["resourceVersion"] = str(200 + number)
        world.state.secrets.put({**changed, "data": {"username": "YQ=="}})
        assert world.woken() == {"docker"}


def test_credentials_are_optional() -> None:
    world = _ready().secret("login", username="bob", password="x")
    found = collect_inputs(parsed(), world.settings, world.state, NOW)
    assert isinstance(found, Inputs)
    assert found.credentials == (Credentials(CredentialsState.NOT_REQUIRED),)


def test_inputs_repr_hides_secrets() -> None:
    shown = repr(_ready().secret("login", username="bob", password="hunter2").inputs())
    assert _encoded("hunter2") not in shown
    assert _encoded("bob") not in shown
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize("data", [None, {}, {"key": "no base64!"}, {"key": "/w=="}, {"other": "eA=="}])
def test_secret_value_must_be_text(data: Json | None) -> None:
    assert text_of({"data": data}, "key") is None
    assert text_of(None, "key") is None


def test_key_pair_needs_certificate_and_key() -> None:
    world = World().secret("half", tls_crt="x").secret("whole", tls_crt="x", tls_key="y")
    assert [pair_in(world.state, name) for name in ("none", "half", "whole")] == [None, None, KeyPair("x", "y")]


# Requeues


def test_masquerade_holder_is_collected() -> None:
    world = _ready().mirror("older").mirror("docker")
    assert world.inputs().masquerade_holder == "older"
    assert not world.inputs().hides_registry


def test_registry_of_another_mirror_is_collected() -> None:
    world = _ready().mirror("docker")
    other = stored(a_mirror().named("younger").of(parsed(LOGIN).masquerade), created="2026-02-01T00:00:00Z")
    other["metadata"] |= {"resourceVersion": "99", "uid": "younger"}
    world.state.mirrors.put(other)
    assert (world.inputs().masquerade_holder, world.inputs().hides_registry) == ("younger", True)


def test_change_requeues_only_affected_mirrors() -> None:
    world = World(DOCKER_CERTIFICATE_SECRET="wildcard")
    world.mirror("docker")
    assert world.woken() == {"docker"}
    world.mirror("quay")
    assert world.woken() == {"docker", "quay"}  # both claim one host name
    for happening, woken in (
        (lambda: world.secret("login", username="x"), {"docker", "quay"}),
        (lambda: world.secret("unrelated", username="x"), set()),
        (lambda: world.secret("wildcard", tls_crt="x"), {"docker", "quay"}),
        (lambda: world.secret("registry-mirror-quay"), {"quay"}),
        (lambda: world.secret("registry-mirror-unknown"), set()),
        (lambda: world.secret(MIRRORS_CA), {"docker", "quay", ADMISSION_KEY}),
        (lambda: world.secret(WEBHOOK_CA), {ADMISSION_KEY}),
        (lambda: world.secret(WEBHOOK_CERTIFICATE), {ADMISSION_KEY}),
        (lambda: world.seen(resources.SERVICE, "registry-mirror-quay"), {"quay"}),
        (lambda: world.seen(resources.SERVICE, "registry-mirror-quay-headless"), {"quay"}),
        (lambda: world.seen(resources.STATEFUL_SET, "registry-mirror-quay-headless"), set()),
        (lambda: world.seen(resources.DAEMON_SET, "registry-mirror-docker"), {"docker"}),
        (lambda: world.seen(resources.DAEMON_SET, "somebody-elses"), set()),
        (lambda: world.state.claims.put(world._named("image-store-registry-mirror-quay-1")), {"quay"}),
        (lambda: world.state.claims.put(world._named("image-store-registry-mirror-unknown-1")), set()),
        (lambda: world.state.claims.put(world._named("theirs-quay-1")), set()),
        (lambda: world.state.bundles.put(world._named("company")), {"docker", "quay"}),
        (lambda: world.state.mutating.put(world._named("registrymirror")), {ADMISSION_KEY}),
    ):
        happening()
        assert world.woken() == woken


def test_store_keeps_only_used_secret_keys() -> None:
    """A namespace may hold thousands of large Secrets."""
    world = World().secret("helm-release", release="x" * 1000, username="bob")
    assert world.state.secrets.get("helm-release") == {
        "metadata": {"name": "helm-release", "resourceVersion": "1"},
        "data": {"username": _encoded("bob")},
    }
