"""A stored blob is verified if a client asks for it again."""

from __future__ import annotations

from cache.content.suspicion import SUSPICION, VERIFICATION_PAUSE, Suspicions
from cache.model.reference import Digest

DIGEST = Digest("sha256", "0" * 64)
NODE = "192.0.2.1"


def is_suspect(found: Suspicions, now: float) -> bool:
    """Return the decision for a client that was sent the whole blob."""
    found.served(DIGEST, NODE, now)
    return found.is_suspect(DIGEST, NODE, now)


def test_client_that_asks_again_raises_suspicion() -> None:
    found = Suspicions()
    assert not found.is_suspect(DIGEST, NODE, 0.0)
    found.served(DIGEST, NODE, 0.0)
    assert not found.is_suspect(DIGEST, "192.0.2.2", 1.0)
    assert not found.is_suspect(DIGEST, NODE, SUSPICION)


def test_damage_after_a_verification_is_found() -> None:
    """A blob that was sound is verified again after a short pause, which begins with the end of a verification."""
    found, end = Suspicions(), 3 * VERIFICATION_PAUSE
    assert is_suspect(found, 0.0)
    assert is_suspect(found, end)
    found.verified(DIGEST, end)
    assert not is_suspect(found, end + VERIFICATION_PAUSE - 1)
    assert is_suspect(found, end + VERIFICATION_PAUSE)
