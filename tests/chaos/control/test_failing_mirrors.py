"""Test mirrors that fail in many ways: others are not affected."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from controller.objects import resources
from tests.chaos.control.conftest import launched, until_served
from tests.localcluster.ports import LOOPBACK
from tests.support import policies
from tests.support.caches import running_caches
from tests.support.components import create_storage_class, create_volumes
from tests.support.conflicts import conflict_reported, conflicting_writer
from tests.support.faults import complete, one
from tests.support.holding_webhook import HoldingWebhook
from tests.support.kube import Kube, until
from tests.support.pace import BATCH, Pace, any_within, create_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

# Mirrors whose Secret hangs in a webhook. Each holds a worker for 30 s, so that 12 workers are left.
HUNG = 20
TRIES = 3  # batches, of which one must be fast enough; other tests on this machine slow some
FINALIZER = "example.com/hold"


@dataclass(frozen=True)
class Bad:
    """Describe a mirror that fails in one way, and its condition."""

    fault: str
    name: str
    condition: str
    reason: str
    status: str = "False"


BAD = (
    Bad("invalid spec in the API server", "outside", "Accepted", "InvalidSpec"),
    Bad("object of that name without our owner", "foreign", "CacheAvailable", "ObjectNotOwned"),
    Bad("credentials Secret missing", "missing", "CredentialsAvailable", "SecretMissing"),
    Bad("credentials Secret without a user name", "garbled", "CredentialsAvailable", "SecretIncomplete"),
    Bad("credentials Secret with an empty password", "empty", "CredentialsAvailable", "SecretIncomplete"),
    Bad("admission policy refuses its StatefulSet", "refused", "Reconciled", "ApplyFailed"),
    Bad("admission policy refuses the mirror's finalizer", "unheld", "Reconciled", "ReconcileFailed"),
    Bad("StorageClass that cannot grow", "fixed", "StorageResized", "ResizeRefused"),
    Bad("host name of an older mirror", "younger", "NodesConfigured", "MasqueradeConflict"),
    Bad("object held in deletion by a finalizer", "stuck", "Reconciled", "ObjectTerminating"),
    Bad("upstream that hangs when a cache asks it", "deaf", "UpstreamReachable", "TimedOut"),
    Bad("admission webhook hangs for its Secret", "hung0", "Reconciled", "ReconcileFailed"),
)


@pytest.fixture(scope="module")
def running(ground: Callable[..., Running]) -> Running:
    """Return a cluster whose webhook accepts specs that its controller rejects."""
    running = ground()
    running.system.start()
    until_served(running)
    running.system.processes.stop(["controller"])
    return running


def test_failing_mirrors_do_not_slow_others(running: Running, chaos: Chaos) -> None:
    """The audit log has both times. Each failing mirror has its condition."""
    kube = running.kube
    user = launched(running, MASQUERADE_DOMAINS="example.com")
    kube.mirror(one("contested"))
    create_batch(running, "warm", user)
    alone = create_batch(running, "alone", user)
    with (
        HoldingWebhook(running.cluster) as webhook,
        _hanging_upstream() as port,
        running_caches(running, "deaf"),
        conflicting_writer(running, _change_port, interval=0.05),
    ):
        until(lambda: conflict_reported(kube, "contested"), why="an Event reports the conflict")
        reported = _bad_ones(kube, webhook, port)
        beside: list[Pace] = []
        while not any_within(alone, beside) and len(beside) < TRIES:
            beside.append(create_batch(running, f"beside-{len(beside)}-", user))
        for bad in BAD:
            assert kube.condition(bad.name, bad.condition) == (bad.status, bad.reason), "it is still reported"
        began = time.monotonic()
        _repair_causes(kube, webhook)
        until(lambda: complete(kube, "hung0"), why="the hung mirror is complete after the webhook responds", seconds=60)
        recovered = {"hung0": time.monotonic() - began}
        for name in ("refused", "unheld", "stuck", "foreign"):
            until(lambda name=name: complete(kube, name), why=f"{name} is complete after its cause is gone", seconds=90)  # type: ignore[misc]
            recovered[name] = time.monotonic() - began
    for name in ("refused", "unheld", "stuck", "hung0"):
        kube.until_condition(name, "Reconciled", "True", "Reconciled")
    assert conflict_reported(kube, "contested")
    if not any_within(alone, beside):  # the machine may be slower now, by other tests
        alone = create_batch(running, "alone-again", user)
    assert any_within(alone, beside), (alone, beside)
    lost = f"0 of {BATCH * len(beside)} mirrors beside"
    for bad in BAD:
        chaos.row(
            bad.fault,
            lost=lost,
            condition=reported[bad.name],
            recovered=recovered.get(bad.name),
            note=f"{bad.condition} {bad.reason}",
        )
    chaos.row(
        f"{BATCH} mirrors beside {len(BAD) + HUNG} bad ones",
        lost=lost.removesuffix(" beside"),
        note=f"last one complete after {' and '.join(f'{each.last:.1f}' for each in beside)} s,"
        f" without bad ones {alone.last:.1f} s",
    )


def _bad_ones(kube: Kube, webhook: HoldingWebhook, port: int) -> dict[str, float]:
    """Create the failing mirrors, and return the seconds until each reports its failure."""
    began: dict[str, float] = {}
    written = ("CREATE", "UPDATE")
    rule = policies.rule("apps", "statefulsets", *written)
    policies.refuse(kube, "refused", rule, unless="object.metadata.name != 'registry-mirror-refused'")
    rule = policies.rule("k8s.osp.tech", "registrymirrors", *written)
    policies.refuse(kube, "unheld", rule, unless="object.metadata.name != 'unheld' || !has(object.metadata.finalizers)")
    webhook.hold()
    rules = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}
    webhook.register(kube, "holding", rules, "request.name.startsWith('registry-mirror-hung')")
    foreign = {"metadata": {"name": "registry-mirror-foreign"}, "spec": {"ports": [{"port": 80}]}}
    kube.create(resources.SERVICE, foreign)
    kube.secret("garbled", password="alone")
    kube.secret("empty", username="puller", password="")
    create_storage_class(kube, "fixed", growing=False)
    create_volumes(kube, "fixed", ["fixed-0", "fixed-1"], "20Gi")
    kube.mirror(one("older").known_as("claimed.example.com"))
    kube.mirror(one("fixed").on_class("fixed").storing("20Gi"))
    kube.mirror(one("stuck"))
    # Kubernetes creates 20 objects a second, and those of the 80 earlier mirrors first.
    until(
        lambda: kube.get(resources.MIRROR, "fixed").get("status", {}).get("storage") == "20Gi", why="bound", seconds=90
    )
    until(lambda: complete(kube, "stuck") and complete(kube, "older"), why="complete before they fail")
    # The API server enforces a policy a moment after its creation.
    until(lambda: not _creatable(kube), why="the policies hold")
    mirrors = {
        "outside": one("outside").known_as("outside.example.org"),
        "foreign": one("foreign"),
        "missing": one("missing").logging_in_with("nowhere"),
        "garbled": one("garbled").logging_in_with("garbled"),
        "empty": one("empty").logging_in_with("empty"),
        "refused": one("refused"),
        "unheld": one("unheld"),
        "younger": one("younger").known_as("claimed.example.com"),
        "deaf": one("deaf").of(f"http://{LOOPBACK}:{port}").known_as("deaf.example.com"),
        **{f"hung{number}": one(f"hung{number}") for number in range(HUNG)},
    }
    for name, builder in mirrors.items():
        began[name] = time.monotonic()
        kube.mirror(builder)
    kube.patch(resources.SERVICE, "registry-mirror-stuck", {"metadata": {"finalizers": [FINALIZER]}})
    began["stuck"] = time.monotonic()
    kube.delete(resources.SERVICE, "registry-mirror-stuck")
    began["fixed"] = time.monotonic()
    size = {"resources": {"requests": {"storage": "30Gi"}}}
    kube.patch(resources.MIRROR, "fixed", {"spec": {"volumeClaimTemplate": {"spec": size}}})
    return _all_reported(kube, began)


def _all_reported(kube: Kube, began: dict[str, float]) -> dict[str, float]:
    reported: dict[str, float] = {}

    def check() -> bool:
        for bad in BAD:
            if bad.name not in reported and kube.condition(bad.name, bad.condition) == (bad.status, bad.reason):
                reported[bad.name] = time.monotonic() - began[bad.name]
        return len(reported) == len(BAD)

    # The API server gives up on a webhook after 30 s; then the failure is reported.
    until(check, why=f"each reports its failure; {sorted({bad.name for bad in BAD} - set(reported))}", seconds=90)
    return reported


def _creatable(kube: Kube) -> bool:
    """Return True if the policies are not enforced, by a dry run."""
    selector = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    spec = {"selector": selector, "template": template, "serviceName": "a"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "registry-mirror-refused"},
        "spec": spec,
    }
    path = resources.STATEFUL_SET.path("registry-mirror")
    return kube.http.post(path, json=body, params={"dryRun": "All"}).is_success


def _repair_causes(kube: Kube, webhook: HoldingWebhook) -> None:
    """Remove the causes. Change the mirrors behind a policy, as its removal is no event."""
    webhook.release()
    for name in ("refused", "unheld"):
        policies.lift(kube, name)
    until(lambda: _creatable(kube), why="the policies are gone")
    kube.delete(resources.SERVICE, "registry-mirror-foreign")
    kube.patch(resources.SERVICE, "registry-mirror-stuck", {"metadata": {"finalizers": None}})
    for name in ("refused", "unheld"):
        kube.patch(resources.MIRROR, name, {"metadata": {"labels": {"requeue": "now"}}})


@contextmanager
def _hanging_upstream() -> Iterator[int]:
    """Accept connections and send nothing."""
    with socket.create_server((LOOPBACK, 0), backlog=64) as server:
        yield server.getsockname()[1]


def _change_port(client: Kube, number: int) -> None:
    port = {"op": "replace", "path": "/spec/ports/0/port", "value": 8000 + number % 900}
    client.json_patch(resources.SERVICE, "registry-mirror-contested", port)
