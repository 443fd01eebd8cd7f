"""Test each of the controller's settings in a cluster."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

import pytest

from common import cache_protocol
from controller.certificates.x509 import issue_ca, issue_certificate
from controller.objects import resources
from tests.cluster.conftest import Running
from tests.localcluster.cluster import Cluster
from tests.support.caches import CachePod, running_caches
from tests.support.kube import Kube, text, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

STATEFUL_SET = "registry-mirror-set"


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a system with all settings."""
    with Cluster(tmp_path_factory.mktemp("configured")).start() as cluster:
        running = Running(
            cluster,
            DOCKER_CERTIFICATE_SECRET="own-certificate",
            CA_CERTIFICATE_BUNDLE="own-bundle",
            IMAGE_PULL_SECRETS="pull-a, pull-b",
            CACHE_IMAGE="registry.example.com/team/cache:2.0",
            HOSTESS_IMAGE="registry.example.com/hostess:2",
            HOSTESS_NODE_SELECTOR="type=metal",
            HTTPS_PROXY="http://127.0.0.1:1",
            NO_PROXY="10.0.0.0/8",
        )
        running.system.install()
        running.system.start()
        yield running
        running.stop()


@pytest.fixture
def whole(configured: Running) -> Running:
    """Return the system with a mirror and all named objects."""
    kube = configured.kube
    if kube.find(resources.SECRET, "own-certificate") is None:
        kube.secret("own-certificate", **_certificate())
    if kube.find(resources.CONFIG_MAP, "own-bundle") is None:
        kube.create(resources.CONFIG_MAP, {"metadata": {"name": "own-bundle"}, "data": {"ca-certificates.crt": "PEM"}})
    if kube.find(resources.MIRROR, "set") is None:
        kube.mirror(a_mirror().named("set").replicated(1))
    return configured


def _certificate() -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    ca = issue_ca("a person's own", now)
    serving = issue_certificate(ca, ["mirror.example.com"], now)
    return {"tls.crt": serving.certificate, "tls.key": serving.key, "ca.crt": ca.certificate}


def _trusted(kube: Kube) -> str:
    """Return the CAs that nodes trust for the mirror."""
    return text(kube.get(resources.SECRET, STATEFUL_SET), "ca.crt")


def _served(cache: CachePod) -> str:
    """Return the certificate that a cache serves with."""
    return ssl.get_server_certificate((cache.address, cache_protocol.PORT)).strip()


def test_given_certificate_and_bundle_are_followed(configured: Running) -> None:
    """Each is reported while missing, used once it exists, and followed without a restart of the caches."""
    kube = configured.kube
    kube.mirror(a_mirror().named("set").replicated(1))
    message = kube.until_condition("set", "CacheAvailable", "False", "CertificateSecretMissing")
    assert message.startswith("Secret own-certificate (DOCKER_CERTIFICATE_SECRET) does not exist")
    kube.secret("own-certificate", **{**_certificate(), "tls.key": "no key"})
    kube.until_condition("set", "CacheAvailable", "False", "CertificateSecretInvalid")
    first = _certificate()
    kube.patch(resources.SECRET, "own-certificate", {"stringData": first})
    message = kube.until_condition("set", "CacheAvailable", "False", "CABundleMissing")
    assert "own-bundle (CA_CERTIFICATE_BUNDLE) does not exist" in message
    kube.create(resources.CONFIG_MAP, {"metadata": {"name": "own-bundle"}, "data": {"ca-certificates.crt": "PEM 1"}})
    kube.until_there(resources.STATEFUL_SET, STATEFUL_SET)
    kube.until_condition("set", "CacheAvailable", "False", "NoReplicaReady")

    assert _trusted(kube) == first["ca.crt"]
    assert not {"tls.crt", "tls.key"} & kube.get(resources.SECRET, STATEFUL_SET)["data"].keys()
    template = kube.get(resources.STATEFUL_SET, STATEFUL_SET)["spec"]["template"]
    second = _certificate()
    kube.patch(resources.SECRET, "own-certificate", {"stringData": second})
    until(lambda: _trusted(kube) == second["ca.crt"] + first["ca.crt"], why="nodes trust the CA of both certificates")
    assert kube.get(resources.STATEFUL_SET, STATEFUL_SET)["spec"]["template"] == template


def test_running_cache_follows_given_certificate(whole: Running) -> None:
    """An invalid certificate is reported, and the cache keeps the last valid one. No pod restarts."""
    kube = whole.kube
    template = kube.until_there(resources.STATEFUL_SET, STATEFUL_SET)["spec"]["template"]
    with running_caches(whole, "set") as caches:
        kube.until_condition("set", "CacheAvailable", "True", "AllReplicasReady")
        pid, renewed = caches[0].pid, _certificate()
        kube.patch(resources.SECRET, "own-certificate", {"stringData": renewed})
        until(lambda: _served(caches[0]) == renewed["tls.crt"].strip(), why="the cache serves with the new one")
        kube.patch(resources.SECRET, "own-certificate", {"stringData": {"tls.key": "no key"}})
        kube.until_condition("set", "CacheAvailable", "False", "CertificateSecretInvalid")
        until(lambda: "certificate refused" in caches[0].log(), why="the cache refuses it")
        assert _served(caches[0]) == renewed["tls.crt"].strip()
        kube.patch(resources.SECRET, "own-certificate", {"stringData": renewed})
        kube.until_condition("set", "CacheAvailable", "True", "AllReplicasReady")
        assert caches[0].pid == pid
    assert kube.get(resources.STATEFUL_SET, STATEFUL_SET)["spec"]["template"] == template


def test_cache_uses_the_proxy(whole: Running) -> None:
    """Nothing listens at the proxy's address."""
    with running_caches(whole, "set"):
        whole.kube.until_condition("set", "UpstreamReachable", "False", "ProxyFailed")


def test_other_objects_survive_missing_certificate(whole: Running) -> None:
    kube = whole.kube
    kube.until_there(resources.STATEFUL_SET, STATEFUL_SET)
    kube.delete(resources.SECRET, "own-certificate")
    kube.until_condition("set", "CacheAvailable", "False", "CertificateSecretMissing")
    kube.delete(resources.SERVICE, STATEFUL_SET)
    kube.until_there(resources.SERVICE, STATEFUL_SET)
    kube.delete(resources.DAEMON_SET, STATEFUL_SET)
    kube.until_there(resources.DAEMON_SET, STATEFUL_SET)
    kube.secret("own-certificate", **_certificate())
    kube.until_condition("set", "CacheAvailable", "False", "NoReplicaReady")


def test_cache_pods_get_all_settings(whole: Running) -> None:
    kube = whole.kube
    pod = kube.until_there(resources.STATEFUL_SET, STATEFUL_SET)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "pull-a"}, {"name": "pull-b"}]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example.com/team/cache:2.0"
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["HTTPS_PROXY"] == "http://127.0.0.1:1"
    assert environment["NO_PROXY"] == "10.0.0.0/8"
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["certificate"]["secret"]["secretName"] == "own-certificate"
    assert volumes["ca-bundle"]["configMap"]["name"] == "own-bundle"


def test_agent_gets_seed_environment(whole: Running) -> None:
    kube = whole.kube
    pod = kube.until_there(resources.DAEMON_SET, STATEFUL_SET)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {"key": "type", "operator": "In", "values": ["metal"]} in term["matchExpressions"]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example.com/hostess:2"
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert {
        "SERVICE_NAME": STATEFUL_SET,
        "SERVICE_NAMESPACE": "registry-mirror",
        "SHADOW_FQDN": "mirror-quay.io",
        "HOSTS_FILE": "/etc/hosts_from_host",
        "HOSTS_FILE_BACKUP": "/etc/hosts.backup/hosts",
        "LOCK_FILE": "/var/lock/hostess/mirror-hostess",
    }.items() <= environment.items()


def test_wrong_settings_stop_the_controller(configured: Running) -> None:
    processes = configured.system.processes
    configured.system.launch_controller("controller-wrong", NAMESPACE="No_Namespace", SECONDS_BETWEEN_STREAMS="soon")
    until(lambda: not processes.alive("controller-wrong"), why="it ends")
    first, *mistakes = processes.log("controller-wrong").read_text().splitlines()
    assert first == "controller: wrong settings:"
    assert [line.split("=")[0] for line in mistakes] == ["NAMESPACE", "SECONDS_BETWEEN_STREAMS"]


def test_secret_opt_in_limits_secrets(configured: Running) -> None:
    kube, system = configured.kube, configured.system
    system.processes.stop(["controller"])
    system.start_controller(SECRET_OPT_IN="true", DOCKER_CERTIFICATE_SECRET="", CA_CERTIFICATE_BUNDLE="")
    kube.secret("login", username="puller", password="canary")
    kube.mirror(a_mirror().named("careful").of("careful.example.com:5000").logging_in_with("login"))
    message = kube.until_condition("careful", "CredentialsAvailable", "False", "SecretNotOptedIn")
    assert "does not list careful.example.com:5000 in its annotation k8s.osp.tech/upstreams" in message
    annotated = {"k8s.osp.tech/upstreams": "quay.io, https://careful.example.com:5000"}
    kube.patch(resources.SECRET, "login", {"metadata": {"annotations": annotated}})
    kube.until_condition("careful", "CredentialsAvailable", "True", "Found")
