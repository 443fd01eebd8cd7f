"""Test the conditions about the upstream, with a server on loopback as upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.support.components import make_pods_ready, pods_of
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.mirrors import a_mirror
from tests.support.upstreams import Front, beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running
    from tests.support.mirrors import MirrorBuilder

BUNDLE = "upstream-ca"


@pytest.fixture
def front() -> Iterator[Front]:
    """Return an upstream that requires tokens."""
    with beside(Front("bearer")) as made:
        yield made


@pytest.fixture
def running(front: Front, fresh: Callable[..., Running]) -> Running:
    """Return a system that probes every second and trusts the upstream's CA."""
    made = fresh(UPSTREAM_PROBE_SECONDS="1", CA_CERTIFICATE_BUNDLE=BUNDLE)
    bundle = {"metadata": {"name": BUNDLE}, "data": {"ca-certificates.crt": front.ca}}
    made.kube.create(resources.CONFIG_MAP, bundle)
    made.system.start()
    return made


def one(front: Front) -> MirrorBuilder:
    """Return a mirror of the upstream, with credentials."""
    return a_mirror().named("one").of(front.url).known_as("mirror.example.com").logging_in_with("login").replicated(1)


def events(kube: Kube) -> list[tuple[str, str]]:
    """Return kinds and reasons of the Events about the mirror."""
    return [each[:2] for each in kube.events("one")]


def test_corrected_credentials_need_no_restart(running: Running, front: Front) -> None:
    kube = running.kube
    kube.secret("login", username="bob", password="old")
    kube.mirror(one(front))
    message = kube.until_condition("one", "CredentialsAvailable", "False", "CredentialsRefused")
    assert message.startswith(f"{front.url} refuses the credentials in Secret {NAMESPACE}/login.")
    kube.until_condition("one", "UpstreamReachable", "True", "Reachable")
    until(lambda: ("Warning", "CredentialsRefused") in events(kube), why="an Event")
    make_pods_ready(kube, "one", "registry", 1)
    kube.until_condition("one", "Ready", "False", "CredentialsRefused")
    pods = {pod["metadata"]["uid"]: pod["spec"] for pod in pods_of(kube, "one", "registry")}

    kube.patch(resources.SECRET, "login", {"stringData": {"password": "secret"}})
    message = kube.until_condition("one", "CredentialsAvailable", "True", "CredentialsAccepted")
    assert message == f"{front.url} accepts the credentials in Secret {NAMESPACE}/login."
    until(lambda: ("Normal", "CredentialsAccepted") in events(kube), why="an Event")
    assert {pod["metadata"]["uid"]: pod["spec"] for pod in pods_of(kube, "one", "registry")} == pods

    kube.delete(resources.SECRET, "login")
    kube.until_condition("one", "CredentialsAvailable", "False", "SecretMissing")
    kube.secret("login", username="bob", password="secret")
    kube.until_condition("one", "CredentialsAvailable", "True", "CredentialsAccepted")


def test_upstream_fault_keeps_mirror_ready(running: Running, front: Front) -> None:
    kube = running.kube
    kube.mirror(one(front).without("spec.credentialsSecret"))
    make_pods_ready(kube, "one", "registry", 1)
    kube.until_condition("one", "UpstreamReachable", "True", "Reachable")
    kube.until_condition("one", "Ready", "True", "Ready")
    for status, reason in ((403, "Forbidden"), (429, "RateLimited"), (503, "ServerError"), (401, "Unauthorized")):
        front.status = status
        kube.until_condition("one", "UpstreamReachable", "False", reason)
        assert kube.condition("one", "Ready") == ("True", reason)
        until(lambda: ("Warning", reason) in events(kube), why="an Event")  # noqa: B023 (called within the loop)
    front.status = 0
    kube.until_condition("one", "UpstreamReachable", "True", "Reachable")
    kube.until_condition("one", "Ready", "True", "Ready")
    until(lambda: ("Normal", "Reachable") in events(kube), why="an Event")


def test_unchanged_answer_writes_nothing(running: Running, front: Front) -> None:
    """Probes continue, and cause no request to the API server."""
    kube = running.kube
    kube.secret("login", username="bob", password="secret")
    kube.mirror(one(front))
    kube.until_condition("one", "CredentialsAvailable", "True", "CredentialsAccepted")
    make_pods_ready(kube, "one", "registry", 1)
    kube.until_condition("one", "Ready", "True", "Ready")

    def probed_three_times() -> bool:
        return front.requests.count("/token") >= asked + 3

    asked, version = front.requests.count("/token"), kube.get(resources.MIRROR, "one")["metadata"]["resourceVersion"]
    until(probed_three_times, why="probes continue")
    assert kube.get(resources.MIRROR, "one")["metadata"]["resourceVersion"] == version

    running.system.processes.stop(["controller"])
    running.system.start_controller()
    asked = front.requests.count("/token")
    until(probed_three_times, why="the new one probes")
    assert kube.get(resources.MIRROR, "one")["metadata"]["resourceVersion"] == version
