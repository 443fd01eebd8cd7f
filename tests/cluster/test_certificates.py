"""Rotate, lose, damage and replace certificates on a real API server, with a client that is never refused."""

from __future__ import annotations

import base64
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from controller.certificates.ca_bundle import with_bundle
from controller.certificates.x509 import certificates_in, dates_of, is_key_pair, issue_ca, issue_certificate, issued_by
from controller.model.certificate_lifetimes import Lifetimes
from controller.model.inputs import KeyPair
from controller.objects import resources
from tests.cluster.conftest import clusters
from tests.localcluster.pages import page
from tests.support import policies
from tests.support.admitting import Admitting, bundle
from tests.support.caches import running_caches
from tests.support.faults import events_of, leads
from tests.support.kube import Kube, until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

WEBHOOK_CA, WEBHOOK_TLS, MIRRORS_CA = "registrymirror-webhook-ca", "registrymirror-webhook-tls", "registrymirror-ca"
MIRROR = "registry-mirror-kept"
DAY = timedelta(days=1)
# Seconds: enough for a mounted Secret to be updated on a busy machine.
OVERLAP = 5
ROTATING = {
    "CA_LIFETIME": "60s",
    "CA_LEAD": "45s",
    "CERTIFICATE_LIFETIME": "38s",
    "CERTIFICATE_LEAD": "19s",
    "CERTIFICATE_OVERLAP": f"{OVERLAP}s",
    "CERTIFICATE_WARNING": "3s",
}
# Seconds of one rotation: the rest of a CA and two overlaps.
PATIENCE = 60.0


def pair(kube: Kube, secret: str) -> KeyPair:
    """Return certificate and key of a Secret."""
    return KeyPair(text(kube, secret, "tls.crt"), text(kube, secret, "tls.key"))


def text(kube: Kube, secret: str, key: str) -> str:
    """Return one value of a Secret, or an empty string."""
    data = (kube.find(resources.SECRET, secret) or {}).get("data") or {}
    return base64.b64decode(data.get(key, "")).decode(errors="replace")


def is_at_rest(kube: Kube) -> bool:
    """Return True if only the current CAs are trusted, and all certificates are theirs."""
    webhook, mirrors = text(kube, WEBHOOK_CA, "tls.crt"), text(kube, MIRRORS_CA, "tls.crt")
    published = {
        bundle(kube, resources.MUTATING),
        bundle(kube, resources.VALIDATING),
        text(kube, WEBHOOK_TLS, "ca.crt"),
    }
    return (
        published == {webhook}
        and text(kube, MIRROR, "ca.crt") == mirrors
        and is_key_pair(pair(kube, WEBHOOK_TLS))
        and issued_by(text(kube, WEBHOOK_TLS, "tls.crt"), webhook)
        and is_key_pair(pair(kube, MIRROR))
        and issued_by(text(kube, MIRROR, "tls.crt"), mirrors)
    )


def a_kept_mirror(running: Running) -> None:
    """Create a mirror with one cache pod, of an upstream where nothing listens."""
    running.kube.mirror(a_mirror().named("kept").of("127.0.0.1:1").known_as("kept.example.com").replicated(1))
    running.kube.until_there(resources.STATEFUL_SET, MIRROR)
    until(lambda: is_at_rest(running.kube), why="the mirror has its certificate")


@pytest.mark.slow
def test_both_cas_rotate_without_refusals(fresh: Callable[..., Running]) -> None:
    """A running cache follows its certificate. Each request to it trusts the bundle that nodes have."""
    running = fresh(**ROTATING)
    running.system.start()
    kube = running.kube
    a_kept_mirror(running)
    first = text(kube, WEBHOOK_CA, "tls.crt"), text(kube, MIRRORS_CA, "tls.crt")
    seen: list[tuple[bool, bool]] = []

    def is_over() -> bool:
        # Read the bundle first: a newer certificate must be trusted by an older bundle.
        trusted, shown = certificates_in(text(kube, MIRROR, "ca.crt")), text(kube, MIRROR, "tls.crt")
        seen.append((first[1] in trusted, issued_by(shown, first[1])))
        return is_at_rest(kube) and text(kube, WEBHOOK_CA, "tls.crt") != first[0] and first[1] not in trusted

    def is_served() -> bool:
        assert cache.ask("").status_code == 200
        return is_over()

    with running_caches(running, "kept") as caches, Admitting(running) as client:
        cache, template = caches[0], _template(kube)
        until(cache.is_ready, why="the cache serves")
        until(is_served, why="both have been followed by another", seconds=PATIENCE)
        assert _template(kube) == template, "no pod restarts"
    assert client.refusals == []
    assert client.turns > 50
    assert len(client.serials) > 1, "the webhook has served with several"
    order = list(dict.fromkeys(seen))
    assert order == [(True, True), (True, False), (False, False)], "of the old one: in use, trusted only, gone"


def _template(kube: Kube) -> Json:
    return dict(kube.get(resources.STATEFUL_SET, MIRROR)["spec"]["template"])


@pytest.fixture(scope="module")
def hurried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a system with default lifetimes and a short overlap."""
    with clusters(request, tmp_path_factory) as make:
        running = make(CERTIFICATE_OVERLAP=f"{OVERLAP}s")
        running.system.start()
        a_kept_mirror(running)
        yield running


def _deleted(kube: Kube, secret: str) -> None:
    kube.delete(resources.SECRET, secret)


def _emptied(kube: Kube, secret: str) -> None:
    kube.patch(resources.SECRET, secret, {"data": {"tls.crt": "", "tls.key": "", "ca.crt": None}})


def _garbled(kube: Kube, secret: str) -> None:
    kube.patch(
        resources.SECRET, secret, {"stringData": {"tls.key": pair(kube, secret).certificate, "tls.crt": "garbled"}}
    )


def _foreign(kube: Kube, secret: str) -> None:
    """Replace a CA by another, and a serving certificate by one of an unknown CA."""
    now = datetime.now(UTC)
    own = issue_ca("a person's own", now)
    put = own if secret in (WEBHOOK_CA, MIRRORS_CA) else issue_certificate(own, ("mirror.example.com",), now)
    kube.patch(resources.SECRET, secret, {"stringData": {"tls.crt": put.certificate, "tls.key": put.key}})


CHANGES = (_deleted, _emptied, _garbled, _foreign)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_ca_stays_trusted_during_overlap(hurried: Running, change: Callable[[Kube, str], None]) -> None:
    """Each change happens before the consequences of the previous one are over."""
    kube = hurried.kube
    with Admitting(hurried) as client:
        before = {secret: text(kube, secret, "tls.crt") for secret in (WEBHOOK_TLS, MIRROR)}
        made = {secret: _done(kube, secret, change) for secret in (WEBHOOK_CA, MIRRORS_CA)}
        until(lambda: all(each.certificate in _published(kube) for each in made.values()), why="both are published")
        for secret, serving in before.items():
            assert text(kube, secret, "tls.crt") == serving, f"{secret} stays until all clients trust the new CA"
            assert any(issued_by(serving, each) for each in certificates_in(text(kube, secret, "ca.crt")))
        until(lambda: _changed(kube, before), why="each has a certificate of the new CA")
    assert client.refusals == []
    assert {secret: pair(kube, secret) for secret in made} == made, "they stay, a person's own as well"
    if change is CHANGES[-1]:
        until(lambda: is_at_rest(kube), why="the old ones are gone")


@pytest.mark.parametrize("change", CHANGES)
def test_changed_certificate_is_restored_at_once(hurried: Running, change: Callable[[Kube, str], None]) -> None:
    """The certificate is new, or the one of a recent reconcile."""
    with Admitting(hurried) as client:
        for secret in (WEBHOOK_TLS, MIRROR):
            change(hurried.kube, secret)
        until(lambda: is_at_rest(hurried.kube), why="both are as they were")
    assert client.refusals == []


def _done(kube: Kube, secret: str, change: Callable[[Kube, str], None]) -> KeyPair:
    """Change the Secret, and return its new pair once it is valid."""
    old = pair(kube, secret)
    change(kube, secret)
    return until(lambda: _another(kube, secret, old), why=f"{secret} is there again") or old


def _another(kube: Kube, secret: str, old: KeyPair) -> KeyPair | None:
    found = pair(kube, secret)
    return found if is_key_pair(found) and found != old else None


def _published(kube: Kube) -> str:
    return bundle(kube, resources.MUTATING) + text(kube, MIRROR, "ca.crt")


def _changed(kube: Kube, before: dict[str, str]) -> bool:
    return all(text(kube, secret, "tls.crt") != serving for secret, serving in before.items())


def test_clock_two_years_ahead_causes_no_refusals(hurried: Running, tmp_path: Path) -> None:
    """Certificates due by the wrong clock are renewed, are valid now, and stay."""
    kube, ahead = hurried.kube, tmp_path / "ahead"
    ahead.write_text("0")
    before = {secret: text(kube, secret, "tls.crt") for secret in (WEBHOOK_TLS, MIRROR)}
    hurried.system.processes.stop(["controller"])
    with Admitting(hurried) as client:
        port = hurried.system.start_controller(module="tests.support.shifted", SECONDS_AHEAD_FILE=str(ahead))
        until(lambda: leads(port), why="it leads")
        ahead.write_text(str((730 * DAY).total_seconds()))
        until(lambda: _changed(kube, before), why="what lasts a year is due")
        after = {secret: text(kube, secret, "tls.crt") for secret in before}
        for certificate in after.values():
            begin, end = dates_of(certificate) or pytest.fail("no certificate")
            assert begin < datetime.now(UTC), "valid by the clocks of all others"
            assert end - datetime.now(UTC) > 3 * 364 * DAY, "and by this one"
        ahead.write_text("0")
        kube.mirror(a_mirror().named("later").of("later.example.com"))
        kube.until_there(resources.STATEFUL_SET, "registry-mirror-later")
        until(lambda: is_at_rest(kube), why="everybody trusts what is in force")
    assert not any(text(kube, secret, "tls.crt") != each for secret, each in after.items())
    assert client.refusals == []


def test_controller_not_ready_without_published_bundle(hurried: Running) -> None:
    """Helm waits for ready pods. The API server trusts no webhook without a bundle."""
    kube, port, name = hurried.kube, hurried.system.metrics_port, "registrymirror"
    matched = policies.rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "UPDATE", name=name)
    policies.refuse(kube, "kept", matched, unless="!has(object.webhooks[0].clientConfig.caBundle)")
    _in_force(kube, resources.MUTATING, name)
    assert page(port, "/readyz") == "ok\n"
    kube.patch(resources.MUTATING, name, {"webhooks": with_bundle(kube.get(resources.MUTATING, name)["webhooks"], "")})
    until(lambda: page(port, "/readyz") is None, why="a bundle is missing")
    policies.lift(kube, "kept")
    until(lambda: page(port, "/readyz") == "ok\n", why="it is published again")
    assert is_at_rest(kube)


def _enforced(kube: Kube) -> None:
    """Install a policy that refuses writes of the mirrors' CA."""
    policies.refuse(kube, "kept", policies.rule("", "secrets", "CREATE", "UPDATE", name=MIRRORS_CA))
    _in_force(kube, resources.SECRET, MIRRORS_CA)


def _in_force(kube: Kube, kind: Kind, name: str) -> None:
    """Wait until a policy refuses a change of an object."""

    def is_refused() -> bool:
        with suppress(AssertionError):
            kube.patch(kind, name, {"metadata": {"labels": {"tried": str(time.time_ns())}}})
            return False
        return True

    until(is_refused, why="the policy is in force")


def _due() -> dict[str, str]:
    """Return a user's CA that is due for renewal and valid for months."""
    own = issue_ca("a person's own", datetime.now(UTC), Lifetimes(ca=100 * DAY))
    return {"tls.crt": own.certificate, "tls.key": own.key}


def test_ca_is_used_if_renewal_is_refused(hurried: Running) -> None:
    kube, due = hurried.kube, _due()
    hurried.system.processes.stop(["controller"])
    kube.patch(resources.SECRET, MIRRORS_CA, {"stringData": due})
    _enforced(kube)
    kube.delete(resources.SECRET, WEBHOOK_TLS)
    hurried.system.start_controller()
    until(lambda: is_key_pair(pair(kube, WEBHOOK_TLS)), why="the webhook has its certificate")
    kube.mirror(a_mirror().named("late").of("late.example.com"))
    kube.until_there(resources.STATEFUL_SET, "registry-mirror-late")
    assert issued_by(text(kube, "registry-mirror-late", "tls.crt"), due["tls.crt"])
    until(lambda: "reconcile failed" in events_of(hurried, "controller"), why="the log says what was refused")
    assert text(kube, MIRRORS_CA, "tls.crt") == due["tls.crt"]
    policies.lift(kube, "kept")
    until(lambda: text(kube, MIRRORS_CA, "tls.crt") != due["tls.crt"], why="the successor is there")
    until(lambda: is_at_rest(kube), why="it has taken over")


def test_ca_failure_is_reported_by_mirrors(hurried: Running) -> None:
    """The condition has the API server's message."""
    kube = hurried.kube
    _enforced(kube)
    kube.delete(resources.SECRET, MIRRORS_CA)
    message = kube.until_condition("kept", "CacheAvailable", "False", "CAFailed")
    assert f'secrets "{MIRRORS_CA}" is forbidden: ValidatingAdmissionPolicy' in message
    kube.until_event("kept", "Warning", "CAFailed")
    policies.lift(kube, "kept")
    until(lambda: is_at_rest(kube), why="the new CA alone is trusted")
    until(lambda: kube.condition("kept", "CacheAvailable")[1] == "NoReplicaReady", why="the mirror says so no more")


def test_immutable_ca_is_replaced(hurried: Running) -> None:
    kube, due = hurried.kube, _due()
    kube.patch(resources.SECRET, MIRRORS_CA, {"immutable": True, "stringData": due})
    until(
        lambda: is_key_pair(pair(kube, MIRRORS_CA)) and text(kube, MIRRORS_CA, "tls.crt") != due["tls.crt"], why="it is"
    )
    until(lambda: is_at_rest(kube), why="it has taken over")


def test_certificate_expiry_is_a_metric(hurried: Running) -> None:
    shown = page(hurried.system.metrics_port, "/metrics") or ""
    for secret in (WEBHOOK_CA, WEBHOOK_TLS, MIRRORS_CA, MIRROR):
        _, end = dates_of(text(hurried.kube, secret, "tls.crt")) or pytest.fail(secret)
        (line,) = [each for each in shown.splitlines() if f'expiration_timestamp_seconds{{secret="{secret}"}}' in each]
        assert float(line.split()[-1]) == end.timestamp()


@pytest.mark.slow
def test_conflicting_writer_slows_repairs(hurried: Running) -> None:
    """Few of many changes are repaired, and the log reports the conflict."""
    kube = hurried.kube
    theirs = issue_ca("an injector", datetime.now(UTC))
    changed = with_bundle(kube.get(resources.MUTATING, "registrymirror")["webhooks"], theirs.certificate)
    before = Counter(events_of(hurried, "controller"))

    def quarrel() -> bool:
        kube.patch(resources.MUTATING, "registrymirror", {"webhooks": changed})
        kube.patch(
            resources.SECRET, WEBHOOK_TLS, {"stringData": {"tls.crt": theirs.certificate, "tls.key": theirs.key}}
        )
        return (Counter(events_of(hurried, "controller")) - before)["conflicting writer"] >= 2

    until(quarrel, why="the log reports both conflicts")
    settled = Counter(events_of(hurried, "controller"))
    for _ in range(20):
        quarrel()
    done = Counter(events_of(hurried, "controller"))
    assert done["CA bundle published"] - settled["CA bundle published"] <= 2
    assert done["certificate issued"] - settled["certificate issued"] <= 1
    until(lambda: is_at_rest(kube), why="it is put right all the same", seconds=PATIENCE)
