"""Test the conditions about the upstream, with real caches and registries on loopback."""

from __future__ import annotations

import itertools
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from common import upstream
from controller.desired.cache_config import DATA_DIRECTORY
from controller.objects import resources
from tests.cache.behaviour import Behaviour
from tests.cache.upstream import basic
from tests.cluster.conftest import BUNDLE
from tests.localcluster.ports import free_port
from tests.support.caches import Caches, running_caches
from tests.support.certificates import Issuer
from tests.support.components import pods_of
from tests.support.faults import complete, events_of, leads
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror
from tests.support.registries import running_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cache.upstream import Registry
    from tests.cluster.conftest import Running
    from tests.support.mirrors import MirrorBuilder

# Seconds until a condition follows an upstream that no node asks: the cache probes a failing one every 30, and the
# controller asks the cache every 10.
FOLLOWED = 70.0
ANSWERED = "caches report another state"  # in the controller's log
LAYERS = tuple(range(1000, 1020))  # sizes; of 20 blobs each of two replicas owns some


@pytest.fixture(scope="module")
def running(trusting: Running) -> Running:
    """Return a system that trusts the upstreams' CA."""
    trusting.system.start()
    return trusting


_NUMBERS = itertools.count(1)


@pytest.fixture
def name() -> str:
    """Return a name for mirrors of one test."""
    return f"m{next(_NUMBERS)}"


@pytest.fixture
def registry(issuer: Issuer) -> Iterator[Registry]:
    """Yield an upstream."""
    with running_registry(issuer) as made:
        yield made


def mirror_of(name: str, url: str) -> MirrorBuilder:
    """Return a mirror with one cache pod."""
    return a_mirror().named(name).of(url).known_as(f"{name}.example.com").replicated(1)


def reasons_of(kube: Kube, name: str) -> list[tuple[str, str]]:
    """Return kinds and reasons of the Events about a mirror."""
    return [each[:2] for each in kube.events(name)]


def pods(kube: Kube, name: str) -> dict[str, object]:
    """Return the specs of the cache pods by UID."""
    return {pod["metadata"]["uid"]: pod["spec"] for pod in pods_of(kube, name, "registry")}


@dataclass(frozen=True)
class Fault:
    """An upstream that fails from the start, and the reason of UpstreamReachable."""

    name: str
    reason: str
    does: Behaviour


FAULTS = (
    Fault("unauthorized", "Unauthorized", Behaviour(status={"": 401})),
    Fault("forbidden", "Forbidden", Behaviour(status={"": 403})),
    Fault("limited", "RateLimited", Behaviour(status={"": 429}, retry_after="20")),
    Fault("broken", "ServerError", Behaviour(status={"": 500})),
    Fault("hanging", "TimedOut", Behaviour(hang=True)),
    Fault("page", "NotARegistry", Behaviour(html=True)),
)


def _becomes(kube: Kube, name: str, status: str, reason: str) -> str:
    return kube.until_condition(name, "UpstreamReachable", status, reason, seconds=FOLLOWED)


@pytest.mark.slow
def test_each_upstream_fault_is_reported(running: Running, name: str, issuer: Issuer) -> None:
    """The mirror stays Ready, and an Event reports fault and recovery."""
    kube, port = running.kube, free_port()
    reasons = {f"{name}-refusing": "ConnectionRefused"}
    with ExitStack() as stack:
        kube.mirror(mirror_of(f"{name}-refusing", f"https://127.0.0.1:{port}"))
        upstreams = [stack.enter_context(running_registry(issuer)) for _ in FAULTS]
        for fault, failing in zip(FAULTS, upstreams, strict=True):
            failing.does, reasons[f"{name}-{fault.name}"] = fault.does, fault.reason
            kube.mirror(mirror_of(f"{name}-{fault.name}", failing.url))
        for each in reasons:
            stack.enter_context(running_caches(running, each))
        for each, reason in reasons.items():
            message = _becomes(kube, each, "False", reason)
            assert message.endswith("The cache serves what it has stored.")
            kube.until_condition(each, "Ready", "True", reason)
            until(lambda each=each, reason=reason: ("Warning", reason) in reasons_of(kube, each), why="an Event")  # type: ignore[misc]
        for recovered in upstreams:
            recovered.does = Behaviour()
        stack.enter_context(running_registry(issuer, port))
        for each in reasons:
            _becomes(kube, each, "True", "Reachable")
            kube.until_condition(each, "Ready", "True", "Ready")
            until(lambda each=each: ("Normal", "Reachable") in reasons_of(kube, each), why="an Event")  # type: ignore[misc]
            assert kube.condition(each, "CredentialsAvailable") == ("True", "NotRequired")


@pytest.mark.parametrize(
    ("auth", "anonymous"), [("bearer", ("True", "NotRequired")), ("basic", ("False", "CredentialsRequired"))]
)
def test_corrected_credentials_need_no_restart(
    running: Running, name: str, registry: Registry, auth: str, anonymous: tuple[str, str]
) -> None:
    """The registry gives anonymous tokens, but wants credentials for Basic."""
    kube, secret, registry.does = running.kube, f"{name}-login", Behaviour(auth=auth)
    kube.secret(secret, username="robot", password="old")
    kube.mirror(mirror_of(name, registry.url).logging_in_with(secret))
    with running_caches(running, name) as caches:
        message = kube.until_condition(name, "CredentialsAvailable", "False", "CredentialsRefused")
        assert message.startswith(f"{registry.url} refuses the credentials in Secret {NAMESPACE}/{secret}.")
        kube.until_condition(name, "UpstreamReachable", "True", "Reachable")
        until(lambda: ("Warning", "CredentialsRefused") in reasons_of(kube, name), why="an Event")
        kube.until_condition(name, "Ready", "False", "CredentialsRefused")
        before, pid = pods(kube, name), caches[0].pid

        kube.patch(resources.SECRET, secret, {"stringData": {"password": "secret"}})
        message = kube.until_condition(name, "CredentialsAvailable", "True", "CredentialsAccepted", seconds=FOLLOWED)
        assert message == f"{registry.url} accepts the credentials in Secret {NAMESPACE}/{secret}."
        until(lambda: ("Normal", "CredentialsAccepted") in reasons_of(kube, name), why="an Event")

        kube.delete(resources.SECRET, secret)
        kube.until_condition(name, "CredentialsAvailable", "False", "SecretMissing")
        kube.secret(secret, username="robot", password="secret")
        kube.until_condition(name, "CredentialsAvailable", "True", "CredentialsAccepted", seconds=FOLLOWED)
        kube.patch(resources.MIRROR, name, {"spec": {"credentialsSecret": None}})
        kube.until_condition(name, "CredentialsAvailable", *anonymous, seconds=FOLLOWED)
        assert (pods(kube, name), caches[0].pid) == (before, pid)


def _host(registry: Registry) -> str:
    return upstream.parse(registry.url).image_host


def test_changed_upstream_needs_no_restart(running: Running, name: str, registry: Registry, issuer: Issuer) -> None:
    """Until the cache has the new file it serves the former upstream, and 404 for images of the new one."""
    kube = running.kube
    registry.push("a")
    kube.mirror(mirror_of(name, registry.url))
    with running_registry(issuer) as other, running_caches(running, name) as caches:
        other.push("a")
        _becomes(kube, name, "True", "Reachable")
        caches[0].pull("a", ns=_host(registry))
        former = caches[0].folder(DATA_DIRECTORY) / upstream.parse(registry.url).directory
        assert former.is_dir()
        before, pid = pods(kube, name), caches[0].pid
        with caches.held():
            kube.patch(resources.MIRROR, name, {"spec": {"upstreamUrl": other.url}})
            message = kube.until_condition(name, "CacheAvailable", "False", "SwitchingUpstream")
            assert message.startswith(f"The cache pods do not serve {other.url} yet. Nodes pull from the upstream.")
            assert kube.condition(name, "Ready") == ("False", "SwitchingUpstream")
            assert kube.get(resources.MIRROR, name)["status"]["upstream"] == registry.url
            assert caches[0].ask("a/manifests/latest", ns=_host(other)).status_code == 404
            caches[0].pull("a", ns=_host(registry))
        kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady", seconds=FOLLOWED)
        _becomes(kube, name, "True", "Reachable")
        assert kube.get(resources.MIRROR, name)["status"]["upstream"] == other.url
        caches[0].pull("a", ns=_host(other))
        assert caches[0].ask("a/manifests/latest", ns=_host(registry)).status_code == 404
        until(lambda: not former.exists(), why="the files of the former upstream are gone")
        assert (pods(kube, name), caches[0].pid) == (before, pid)


def test_upstreams_come_and_go_without_restart(running: Running, name: str, registry: Registry, issuer: Issuer) -> None:
    """Each account is sent to its own registry only, also while the caches have an older list."""
    kube, accounts = running.kube, (b"one:first", b"two:second")
    entries = []
    with running_registry(issuer) as other:
        for each, account in zip((registry, other), accounts, strict=True):
            each.push("a")
            each.does = Behaviour(auth="basic", accounts=(account,))
            username, password = account.decode().split(":")
            kube.secret(f"{name}-{username}", username=username, password=password)
            entries.append({"upstreamUrl": each.url, "credentialsSecret": f"{name}-{username}"})
        kube.mirror(mirror_of(name, registry.url).logging_in_with(f"{name}-one"))
        with running_caches(running, name) as caches:
            kube.until_condition(name, "CredentialsAvailable", "True", "CredentialsAccepted", seconds=FOLLOWED)
            before, pid = pods(kube, name), caches[0].pid
            former = caches[0].folder(DATA_DIRECTORY) / upstream.parse(registry.url).directory
            with caches.held():
                kube.patch(resources.MIRROR, name, {"spec": {"additionalUpstreams": entries[1:]}})
                message = kube.until_condition(name, "CacheAvailable", "True", "SwitchingUpstream")
                assert message.startswith(f"The cache pods do not serve {other.url} yet. Nodes pull images of ")
                assert caches[0].ask("a/manifests/latest", ns=_host(other)).status_code == 404
                caches[0].pull("a", ns=_host(registry))
            kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady", seconds=FOLLOWED)
            kube.until_condition(name, "CredentialsAvailable", "True", "CredentialsAccepted", seconds=FOLLOWED)
            assert kube.conditions(name)["UpstreamReachable"][2] == "All 2 upstreams answer."
            for each in (registry, other):
                caches[0].pull("a", ns=_host(each))
                caches[0].pull(f"{_host(each)}/a")

            swapped = {**entries[1], "additionalUpstreams": entries[:1]}
            kube.patch(resources.MIRROR, name, {"spec": swapped})
            until(lambda: kube.get(resources.MIRROR, name)["status"]["upstream"] == other.url, why="the other is first")
            for each in (registry, other):
                caches[0].pull("a", ns=_host(each))

            kube.patch(resources.MIRROR, name, {"spec": {"additionalUpstreams": None}})
            gone = lambda: caches[0].ask("a/manifests/latest", ns=_host(registry)).status_code == 404  # noqa: E731
            until(gone, why="the removed upstream is not served")
            until(lambda: not former.exists(), why="its files are gone")
            data = kube.get(resources.SECRET, f"registry-mirror-{name}")["data"]
            directory = upstream.parse(other.url).directory
            assert {key for key in data if "username" in key} == {f"{directory}.username"}
            assert (pods(kube, name), caches[0].pid) == (before, pid)
        assert set(registry.logins) - {""} == {basic(accounts[0])}
        assert set(other.logins) - {""} == {basic(accounts[1])}


def test_scaled_mirror_shares_its_content(running: Running, name: str, registry: Registry) -> None:
    """The running cache follows its peers, and each blob is fetched once."""
    kube, received = running.kube, "registrymirror_cache_received_bytes_total"
    kube.mirror(mirror_of(name, registry.url))
    with running_caches(running, name) as caches:
        kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
        pid = caches[0].pid
        _scale(kube, caches, name, 2)
        _, blobs = registry.push("a", layers=LAYERS)
        for pod in (caches[0], caches[1]):
            pod.pull("a")
        assert registry.sent == sum(len(registry.blobs[each]) for each in blobs)
        from_peers = [pod.metric(received, source="peer") for pod in (caches[0], caches[1])]
        assert all(from_peers), from_peers

        _scale(kube, caches, name, 1)
        _, more = registry.push("b", layers=LAYERS)
        caches[0].pull("b")
        assert registry.sent == sum(len(registry.blobs[each]) for each in (*blobs, *more))
        assert caches[0].metric(received, source="peer") == from_peers[0]
        assert caches[0].pid == pid


def _scale(kube: Kube, caches: Caches, name: str, replicas: int) -> None:
    """Scale a mirror, and wait until its first cache has the new peers."""
    applied = caches[0].log().count("configuration applied")
    kube.patch(resources.MIRROR, name, {"spec": {"replicas": replicas}})
    until(lambda: len(list(caches)) == replicas, why=f"{replicas} pods")
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    until(lambda: caches[0].log().count("configuration applied") > applied, why="the cache has the new peers")


def test_running_cache_follows_ca_bundle(running: Running, name: str, issuer: Issuer) -> None:
    kube, unknown = running.kube, Issuer("another issuer")
    with running_registry(unknown) as registry:
        kube.mirror(mirror_of(name, registry.url))
        with running_caches(running, name) as caches:
            message = _becomes(kube, name, "False", "UntrustedCertificate")
            assert "Put its CA into the bundle of CA_CERTIFICATE_BUNDLE." in message
            before, pid = pods(kube, name), caches[0].pid
            trusted = (issuer.certificate + unknown.certificate).decode()
            kube.patch(resources.CONFIG_MAP, BUNDLE, {"data": {"ca-certificates.crt": trusted}})
            _becomes(kube, name, "True", "Reachable")
            registry.push("a")
            caches[0].pull("a")
            assert (pods(kube, name), caches[0].pid) == (before, pid)


def test_dead_caches_are_reported(running: Running, name: str, registry: Registry) -> None:
    """One that hangs changes nothing for the other. Both keep their content when they start again."""
    kube = running.kube
    registry.push("a")
    kube.mirror(mirror_of(name, registry.url).replicated(2))
    with running_caches(running, name) as caches:
        kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
        _becomes(kube, name, "True", "Reachable")
        caches[0].pull("a")
        caches[1].kill(signal.SIGSTOP)
        kube.until_condition(name, "CacheAvailable", "True", "SomeReplicasReady", seconds=FOLLOWED)
        kube.until_condition(name, "Ready", "True", "Ready")
        caches[0].pull("a")
        for pod in caches:
            pod.kill()
        kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady", seconds=FOLLOWED)
        message = _becomes(kube, name, "Unknown", "NotAsked")
        assert message.startswith("No cache pod answers the controller at port 5001.")
        sent = registry.sent
        for pod in caches:
            pod.start()
        kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
        _becomes(kube, name, "True", "Reachable")
        caches[0].pull("a")
        assert registry.sent == sent


def test_next_leader_keeps_conditions(running: Running, name: str, registry: Registry) -> None:
    """A new leader and its first answers of the caches change no status."""
    kube, system, registry.does = running.kube, running.system, Behaviour(auth="basic")
    kube.secret(f"{name}-login", username="robot", password="secret")
    kube.mirror(mirror_of(name, registry.url).logging_in_with(f"{name}-login"))
    with running_caches(running, name):
        kube.until_condition(name, "CredentialsAvailable", "True", "CredentialsAccepted")
        kube.until_condition(name, "Ready", "True", "Ready")
        version = kube.get(resources.MIRROR, name)["metadata"]["resourceVersion"]
        for former, controller in (("controller", "controller-2"), ("controller-2", "controller")):
            port = system.start_controller(controller)
            answered = events_of(running, controller).count(ANSWERED)
            system.processes.stop([former])
            until(lambda: leads(port), why=f"{controller} leads")  # noqa: B023 (called within the loop)
            until(lambda: events_of(running, controller).count(ANSWERED) > answered, why="a cache has answered")  # noqa: B023
            # The queue has an order: all that was due for the first mirror is done before.
            after = f"{name}-after-{controller}"
            kube.mirror(mirror_of(after, f"{after}.example.com"))
            until(lambda: complete(kube, after), why="a later mirror is complete")  # noqa: B023
            assert kube.get(resources.MIRROR, name)["metadata"]["resourceVersion"] == version
