"""Who keeps breaking a certificate does not get a new one each time; who deletes it once does, and renewal goes on."""

from __future__ import annotations

from controller.certificates.reissue_limiter import FRESH, Issued
from controller.model.inputs import Inputs, KeyPair, ServingCertificate
from tests.support.controller import CA, inputs, judged

FIRST, SECOND, THIRD = KeyPair("first", "key 1"), KeyPair("second", "key 2"), KeyPair("third", "key 3")
MIRROR = judged()
GONE = None, None


def _issued_now(pair: KeyPair, ca: str = CA) -> Inputs:
    return inputs(tls=ServingCertificate(ca, pair))


def test_what_is_broken_again_and_again_is_put_back_as_it_was() -> None:
    issued = Issued()
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(FIRST), GONE, 0).tls.pair == FIRST
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(SECOND), ("first", ""), 10).tls.pair == FIRST
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(THIRD), ("garbage", "key 1"), 20).tls.pair == FIRST
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(THIRD), GONE, FRESH).tls.pair == THIRD


def test_what_is_whole_and_yet_to_be_replaced_is_replaced() -> None:
    issued = Issued()
    issued.reuse_recent_certificate(MIRROR, _issued_now(FIRST), GONE, 0)
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(FIRST), ("first", "key 1"), 5).tls.pair == FIRST
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(SECOND), ("first", "key 1"), 10).tls.pair == SECOND
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(THIRD), GONE, 20).tls.pair == SECOND


def test_another_authority_or_another_mirror_of_the_name_gets_its_own() -> None:
    issued = Issued()
    issued.reuse_recent_certificate(MIRROR, _issued_now(FIRST), GONE, 0)
    assert issued.reuse_recent_certificate(MIRROR, _issued_now(SECOND, "another"), GONE, 1).tls.pair == SECOND
    assert issued.reuse_recent_certificate(judged(uid="another"), _issued_now(THIRD), GONE, 2).tls.pair == THIRD


def test_a_persons_own_is_none_of_ours() -> None:
    own = inputs(tls=ServingCertificate(CA, FIRST, "own"))
    assert Issued().reuse_recent_certificate(MIRROR, own, GONE, 0) is own
