"""Rotate a CA without an interruption of trust."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.certificates import rotation
from controller.certificates.rotation import IssueRequest, RotationStep, TrustState
from controller.certificates.x509 import (
    certificates_in,
    dates_of,
    is_ca_current,
    issue_ca,
    issue_certificate,
    issued_by,
)
from controller.duration_tracker import DurationTracker
from controller.model.certificate_lifetimes import Lifetimes
from controller.model.inputs import KeyPair

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.certificates.rotation import HeldFor

START = datetime(2026, 6, 1, tzinfo=UTC)
HOSTS = ("mirror-quay.io",)
# In seconds.
TIMES = Lifetimes(*(timedelta(seconds=each) for each in (1000, 400, 300, 100, 20, 5)))
# Lifetimes that exceed an absence of 720 s, the longest sequence of events below.
LONGER = Lifetimes(*(timedelta(seconds=each) for each in (4000, 1700, 1500, 800, 20, 5)))
# Seconds, less than the overlap.
PROPAGATION = 17
_issued_by = cache(issued_by)


class World:
    """A server whose Secret propagates within PROPAGATION seconds, and a controller that may be down."""

    def __init__(self, *, times: Lifetimes = TIMES) -> None:
        self.times = times
        self.seconds = 0
        self.ahead = 0
        self.ca: KeyPair | None = None
        self.trust = TrustState((), None)
        self.durations = DurationTracker()
        self.wait: float | None = None
        self.bundles: list[tuple[int, str]] = []
        self.served: list[tuple[int, str]] = []
        self.reconcile()

    def reconcile(self) -> RotationStep:
        """Reconcile the CA, then the server."""
        now = START + timedelta(seconds=self.seconds + self.ahead)
        if self.ca is None or not is_ca_current(self.ca, now, self.times):
            self.ca = issue_ca("mirrors", now, self.times)
        held = partial(self._held)
        step = rotation.next_step(self.trust, IssueRequest(self.ca, HOSTS, now, self.times), held)
        self.trust = TrustState((step.bundle,), step.serving)
        self.bundles.append((self.seconds, step.bundle))
        self.served.append((self.seconds, step.serving.certificate))
        self.wait = step.wait
        self._check()
        return step

    def _held(self, what: object) -> float:
        return self.durations.held_for("place", what, float(self.seconds))

    def pass_by(self, seconds: int, look: int = 1) -> None:
        """Advance the time, with a reconcile every `look` seconds."""
        for _ in range(0, seconds, look):
            self.seconds += look
            self.reconcile()

    def be_away(self, seconds: int) -> None:
        """Advance the time without a controller, then start another leader."""
        self.seconds += seconds
        self.durations = DurationTracker()
        self.reconcile()

    def _possible(self, history: list[tuple[int, str]]) -> list[str]:
        """Return what a client may hold now: recent versions, and the one before them."""
        since = self.seconds - PROPAGATION
        earlier = [what for when, what in history if when <= since]
        return [*earlier[-1:], *(what for when, what in history if when > since)]

    def _check(self) -> None:
        now = START + timedelta(seconds=self.seconds)
        bundles = {bundle: certificates_in(bundle) for bundle in self._possible(self.bundles)}
        for serving in set(self._possible(self.served)):
            begin, end = dates_of(serving) or (now, now)
            assert begin <= now < end, "a certificate in use is not valid now"
            for cas in bundles.values():
                assert any(_issued_by(serving, each) for each in cas), "a client does not trust a certificate in use"


def _lose(world: World) -> None:
    world.ca = None
    world.reconcile()


def _garble(world: World) -> None:
    assert world.ca is not None
    world.ca = KeyPair(world.ca.certificate, "garbled")
    world.reconcile()


def _replace(world: World) -> None:
    now = START + timedelta(seconds=world.seconds)
    own = replace(world.times, ca=0.75 * world.times.ca)
    world.ca = issue_ca("a person's own", now, own)
    world.reconcile()


def _set_clock(world: World, ahead: int) -> None:
    world.ahead = ahead
    world.reconcile()


EVENTS: st.SearchStrategy[Callable[[World], None]] = st.one_of(
    st.sampled_from([_lose, _garble, _replace]),
    st.integers(1, 60).map(lambda seconds: partial(World.pass_by, seconds=seconds, look=2)),
    st.integers(1, 60).map(lambda seconds: partial(World.be_away, seconds=seconds)),
    st.sampled_from([0, 10, 1500, 20_000]).map(lambda ahead: partial(_set_clock, ahead=ahead)),
)


@settings(max_examples=30, deadline=None)
@given(events=st.lists(EVENTS, max_size=12))
def test_clients_always_trust_certificates_in_use(events: list[Callable[[World], None]]) -> None:
    """Each reconcile checks all Secrets that nodes and servers may still have."""
    world = World(times=LONGER)
    for happen in events:
        happen(world)
    world.pass_by(72, look=2)
    if world.wait is not None:  # a renewal was due; the next is hundreds of seconds later
        world.pass_by(72, look=2)
    assert world.ca is not None
    assert world.reconcile().bundle == world.ca.certificate, "the old ones are gone in the end"
    assert issued_by(world.reconcile().serving.certificate, world.ca.certificate)


def test_three_cas_rotate_unattended() -> None:
    world = World()
    seen = set()
    for _ in range(190):
        world.pass_by(10, look=10)
        assert world.ca is not None
        seen.add(world.ca.certificate)
    assert len(seen) == 4  # one at the start, others after 600, 1200 and 1800 s


def test_rotation_adds_uses_and_removes() -> None:
    world = World()
    world.pass_by(50)
    old, serving = world.trust.bundles[0], world.trust.serving
    _lose(world)
    assert world.ca is not None
    new = world.ca.certificate
    assert world.trust.bundles == (new + old,)
    assert world.trust.serving == serving
    world.pass_by(20)
    assert world.trust.serving == serving
    world.pass_by(1)  # the overlap begins with the second reconcile
    assert world.trust.serving != serving
    assert world.trust.bundles == (new + old,)
    world.pass_by(20)  # the overlap begins with the next reconcile
    assert world.trust.bundles == (new + old,)
    world.pass_by(1)
    assert world.trust.bundles == (new,)


def so_for(seconds: float) -> HeldFor:
    """Return a function that reports this duration for every state."""
    return lambda what: 0.0 if what is None else seconds


A, B = (issue_ca(name, START, TIMES) for name in "AB")
SERVING = issue_certificate(A, HOSTS, START, TIMES)


def _step(trust: TrustState, ca: KeyPair, held: float = 0.0) -> RotationStep:
    return rotation.next_step(trust, IssueRequest(ca, HOSTS, START, TIMES), so_for(held))


def test_complete_rotation_changes_nothing() -> None:
    trust = TrustState((A.certificate,), SERVING)
    assert _step(trust, A, 1e9) == RotationStep(A.certificate, SERVING)


def test_ca_label_variant_is_the_same_ca() -> None:
    spelling = A.certificate.replace("BEGIN CERT", "BEGIN X509 CERT").replace("END CERT", "END X509 CERT")
    for bundle in (A.certificate, spelling):
        assert _step(TrustState((bundle,), SERVING), KeyPair(spelling, A.key), 1e9) == RotationStep(
            A.certificate, SERVING
        )


@pytest.mark.parametrize("bundles", [("",), ("garbled",), ("", A.certificate)])
def test_damaged_bundle_is_repaired(bundles: tuple[str, ...]) -> None:
    found = _step(TrustState(bundles, SERVING), A)
    assert (found.bundle, found.serving) == (A.certificate, SERVING)


def test_all_bundle_copies_must_have_the_ca() -> None:
    both = B.certificate + A.certificate
    assert _step(TrustState((both, A.certificate), SERVING), B, 1e9).serving == SERVING
    assert _step(TrustState((both, both), SERVING), B, 1e9).serving != SERVING


def test_remembered_bundle_replaces_lost_copies() -> None:
    found = _step(TrustState(("", ""), SERVING, remembered=A.certificate), B)
    assert (found.bundle, found.serving) == (B.certificate + A.certificate, SERVING)


def test_lost_certificate_is_reissued_at_once() -> None:
    for serving in (None, KeyPair("garbled", "garbled"), issue_certificate(A, ("other.example",), START, TIMES)):
        found = _step(TrustState((A.certificate,), serving), B)
        assert found.bundle == B.certificate + A.certificate
        assert issued_by(found.serving.certificate, B.certificate)


def test_bundle_size_is_limited() -> None:
    others = "".join(issue_ca(str(number), START, TIMES).certificate for number in range(20))
    found = _step(TrustState((others + A.certificate,), SERVING), B)
    assert len(certificates_in(found.bundle)) == rotation.TRUSTED_MAX
    assert certificates_in(found.bundle)[:2] == [B.certificate, A.certificate]


def test_user_bundle_includes_former_cas() -> None:
    def bundle_after(held: float) -> tuple[str, float | None]:
        trust = TrustState((A.certificate,), SERVING)
        return rotation.user_bundle(trust, "# theirs\n" + B.certificate, TIMES.overlap, so_for(held))

    both = "# theirs\n" + B.certificate + A.certificate
    assert bundle_after(0.0) == (both, 20.0)
    assert bundle_after(20.0) == ("# theirs\n" + B.certificate, None)
    assert rotation.user_bundle(TrustState((), None), "any text", TIMES.overlap, rotation.never) == ("any text", None)


def test_duration_restarts_if_state_changes() -> None:
    durations = DurationTracker()
    assert durations.held_for("a", "x", 100.0) == 0.0
    assert durations.held_for("a", "x", 107.0) == 7.0
    assert durations.held_for("b", "x", 107.0) == 0.0
    assert durations.held_for("a", "y", 108.0) == 0.0
    assert durations.held_for("a", None, 109.0) == 0.0
    assert durations.held_for("a", "y", 110.0) == 0.0
    durations.forget("b")
    assert durations.held_for("b", "x", 120.0) == 0.0
