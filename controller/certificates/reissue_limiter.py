"""Limit how often a mirror's serving certificate is reissued.

A new certificate changes the desired Secret. So the ConflictLimiter takes it for a change of the desired state, and
would not limit the repairs of a Secret that another writer keeps breaking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from controller.model.inputs import Inputs, KeyPair
    from controller.model.mirror import Mirror

    StoredPair = tuple[str | None, str | None]

# Seconds. A user who deletes the Secret gets a new key at once, and the next one after this time.
REISSUE_INTERVAL: Final = 600.0


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """The last certificate of a mirror, the UID, host and CA that it was issued for, and its monotonic time."""

    purpose: tuple[str, str, str]
    pair: KeyPair
    issued_at: float


def limit_reissue(
    last: IssuedCertificate | None, mirror: Mirror, inputs: Inputs, stored: StoredPair, now: float
) -> tuple[Inputs, IssuedCertificate | None]:
    """Return the inputs, with the last certificate if the stored one was broken soon after it was issued.

    `stored` are the certificate and key in the mirror's Secret. An intact one is replaced only when its renewal is due.
    """
    tls, purpose = inputs.tls, (mirror.uid, mirror.masquerade, inputs.tls.ca)
    if tls.secret is not None or _texts(tls.pair) == stored:
        return inputs, last
    is_recent = last is not None and last.purpose == purpose and now - last.issued_at < REISSUE_INTERVAL
    if last is not None and is_recent and _texts(last.pair) != stored:
        return replace(inputs, tls=replace(tls, pair=last.pair)), last
    return inputs, IssuedCertificate(purpose, tls.pair, now)


def _texts(pair: KeyPair) -> StoredPair:
    return pair.certificate, pair.key
