"""Suspect a stored blob if a client asks for it again soon: containerd checks digests, so it may be damaged. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cache.limited_dict import LimitedDict

if TYPE_CHECKING:
    from cache.model.reference import Digest

# Seconds within which a client that asks for the same whole blob again is taken to have refused it.
SUSPICION: Final = 600.0
# Seconds from the end of a verification to the next one of the same blob. Many nodes may ask for a sound blob again.
VERIFICATION_PAUSE: Final = 10.0
# Blobs and clients that are remembered.
_SERVED_MAX: Final = 10_000


@dataclass(slots=True)
class Suspicions:
    """Times of whole responses by blob and client, and of the ends of verifications by blob."""

    _served: LimitedDict[tuple[Digest, str], float] = field(default_factory=lambda: LimitedDict(_SERVED_MAX))
    _verified: LimitedDict[Digest, float] = field(default_factory=lambda: LimitedDict(_SERVED_MAX))

    def served(self, digest: Digest, client: str, now: float) -> None:
        """Remember a whole response."""
        self._served[digest, client] = now

    def is_suspect(self, digest: Digest, client: str, now: float) -> bool:
        """Return True if the blob should be verified before it is sent; never soon after a verification."""
        again = now - self._served.pop((digest, client), now - SUSPICION) < SUSPICION
        return again and now - self._verified.get(digest, now - VERIFICATION_PAUSE) >= VERIFICATION_PAUSE

    def verified(self, digest: Digest, now: float) -> None:
        """Remember the end of a verification."""
        self._verified[digest] = now
