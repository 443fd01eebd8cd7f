"""Search all logs, Events, status, metrics and annotations for the content of Secrets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx

from controller.objects import resources
from tests.cache.behaviour import Behaviour
from tests.localcluster.pages import page
from tests.support.caches import CachePod, running_caches
from tests.support.canary import objects, traces
from tests.support.certificates import Issuer
from tests.support.kube import Kube, until
from tests.support.mirrors import a_mirror
from tests.support.registries import running_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cache.upstream import Registry
    from tests.cluster.conftest import Running

CORE = "Canary7c1f0e93ab"
USERNAME = f"{CORE}User"
PASSWORD = f'pass "{CORE}" \\ w\u00f6rd: {{x}} #1'
NOISE = f"{CORE}Garbled"
BINARY = base64.b64encode(b"\xff\xfe" + NOISE.encode() + b"\xff").decode()
CACHE = "registry-mirror-one-0"


def test_secrets_never_leak(fresh: Callable[..., Running]) -> None:
    """Try wrong and binary credentials, an invalid certificate, user information in a URL, and issued keys."""
    issuer = Issuer()
    running = fresh(CA_CERTIFICATE_BUNDLE="bundle", LOG_LEVEL="DEBUG")
    kube, system = running.kube, running.system
    bundle = {"metadata": {"name": "bundle"}, "data": {"ca-certificates.crt": issuer.certificate.decode()}}
    kube.create(resources.CONFIG_MAP, bundle)
    system.start()
    with running_registry(issuer) as registry:
        kube.secret("login", username=USERNAME, password=PASSWORD)
        one = a_mirror().named("one").of(registry.url).known_as("mirror.example.com").replicated(1)
        registry.does = Behaviour(auth="basic")
        kube.mirror(one.logging_in_with("login"))
        with running_caches(running, "one") as caches:
            _credentials_are_refused(kube, registry, caches[0])
            cache = {f"cache {path}": caches[0].status_page(path) for path in ("/status", "/metrics")}
    _what_stands_in_the_wrong_place_is_refused(kube)
    own = system.start_controller("controller-own", DOCKER_CERTIFICATE_SECRET="own", POD_NAME="own")
    pages = _pages(running, own)
    system.processes.stop(["controller"])
    kube.create(resources.SECRET, {"metadata": {"name": "own"}, "stringData": {"tls.crt": NOISE, "tls.key": NOISE}})
    kube.until_condition("one", "CacheAvailable", "False", "CertificateSecretInvalid")
    held = objects(running.cluster)
    secrets = held.pop("Secret")
    logs = {name: system.processes.log(name).read_text() for name in system.processes.names() if "etcd" not in name}
    canaries = [CORE, USERNAME, PASSWORD, NOISE, *_keys(kube)]
    assert len(canaries) > 5, "our own keys are among them"
    assert traces({"secrets": secrets}, [PASSWORD]), "the looking finds what is there"
    assert any("CredentialsRefused" in text for text in held.values()), "the failures are reported"
    assert "CredentialsRefused" in cache["cache /status"]
    places = {**held, **logs, **pages, **cache}
    assert {"RegistryMirror", "Event", "webhook", "controller", "controller-own", CACHE} <= set(places)
    assert traces(places, canaries) == []


def _credentials_are_refused(kube: Kube, registry: Registry, cache: CachePod) -> None:
    """Let the upstream and its token service refuse text and bytes, for probes and for requests of nodes."""
    kube.until_condition("one", "CredentialsAvailable", "False", "CredentialsRefused", seconds=60)
    assert cache.ask("a/manifests/latest").status_code == 401
    kube.create(resources.SECRET, {"metadata": {"name": "binary"}, "data": {"username": BINARY, "password": BINARY}})
    for secret, auth in (("binary", "bearer"), ("login", "bearer")):
        registry.does = Behaviour(auth=auth)
        asked = registry.count("GET", "/token")
        kube.patch(resources.MIRROR, "one", {"spec": {"credentialsSecret": secret}})
        until(lambda: registry.count("GET", "/token") > asked, why="the token service is asked")  # noqa: B023 (called within the loop)
        assert cache.ask("a/manifests/latest", authorization=f"Basic {BINARY}").status_code == 401


def _what_stands_in_the_wrong_place_is_refused(kube: Kube) -> None:
    """Put a password where it does not belong. The API server refuses the last case itself, without values."""
    for path, value in (
        ("spec.upstreamUrl", f"https://{USERNAME}:{CORE}@quay.io"),
        ("spec.credentialsSecret", {"username": USERNAME, "password": PASSWORD}),
    ):
        output = kube.kubectl("create", "-f", "-", stdin=a_mirror().named("two").having(path, value).raw())
        assert "is invalid" in output or "strict decoding error" in output
        assert CORE not in output
    assert kube.find(resources.MIRROR, "two") is None


def _pages(running: Running, own: int) -> dict[str, str]:
    """Return the metrics of all programs."""
    found = {f"metrics {port}": page(port, "/metrics") or "" for port in (running.system.metrics_port, own)}
    url = f"https://127.0.0.1:{running.system.webhook_port}/metrics"
    found["metrics webhook"] = httpx.get(url, verify=False, trust_env=False).text  # noqa: S501 (what it says counts)
    assert all("_total" in text for text in found.values())
    return found


def _keys(kube: Kube) -> list[str]:
    """Return a line of each private key that the controller has issued."""
    found = []
    for secret in kube.every(resources.SECRET):
        key = base64.b64decode(secret.get("data", {}).get("tls.key", "")).decode(errors="replace")
        found += key.splitlines()[2:3]
    return found
