"""Test the limit for certificates that another writer keeps breaking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.certificates.reissue_limiter import REISSUE_INTERVAL, IssuedCertificate, limit_reissue
from controller.model.inputs import KeyPair, ServingCertificate
from tests.support.controller import CA, inputs, parsed

if TYPE_CHECKING:
    from controller.model.mirror import Mirror

FIRST, SECOND, THIRD = KeyPair("first", "key 1"), KeyPair("second", "key 2"), KeyPair("third", "key 3")
MIRROR = parsed()
GONE = None, None


@dataclass
class Memory:
    """Limits reissues like a reconcile. `pair` is a new certificate."""

    last: IssuedCertificate | None = None

    def use(
        self, pair: KeyPair, stored: tuple[str | None, str | None], now: float, ca: str = CA, mirror: Mirror = MIRROR
    ) -> KeyPair:
        """Return the certificate to use with `stored` in the Secret."""
        found, self.last = limit_reissue(self.last, mirror, inputs(tls=ServingCertificate(ca, pair)), stored, now)
        return found.tls.pair


def test_broken_certificate_is_restored() -> None:
    memory = Memory()
    assert memory.use(FIRST, GONE, 0) == FIRST
    assert memory.use(SECOND, ("first", ""), 10) == FIRST
    assert memory.use(THIRD, ("garbage", "key 1"), 20) == FIRST
    assert memory.use(THIRD, GONE, REISSUE_INTERVAL) == THIRD


def test_intact_certificate_is_renewed() -> None:
    memory = Memory()
    memory.use(FIRST, GONE, 0)
    assert memory.use(FIRST, ("first", "key 1"), 5) == FIRST
    assert memory.use(SECOND, ("first", "key 1"), 10) == SECOND
    assert memory.use(THIRD, GONE, 20) == SECOND


def test_another_purpose_gets_its_own_certificate() -> None:
    memory = Memory()
    memory.use(FIRST, GONE, 0)
    assert memory.use(SECOND, GONE, 1, ca="another") == SECOND
    assert memory.use(THIRD, GONE, 2, mirror=parsed(uid="another")) == THIRD


def test_certificate_of_a_user_is_unchanged() -> None:
    own = inputs(tls=ServingCertificate(CA, FIRST, "own"))
    assert limit_reissue(None, MIRROR, own, GONE, 0) == (own, None)
