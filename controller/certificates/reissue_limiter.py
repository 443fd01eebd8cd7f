"""Remembers the certificates that were just issued, so that who keeps breaking one does not get a new one each time.

Each new one rolls the cache pods, and makes each repair look like a change of what is wanted, which nothing slows down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from controller.model.inputs import Inputs, KeyPair
    from controller.model.mirror import Mirror

    Texts = tuple[str | None, str | None]

# Seconds that one issued in place of another is used again. Who deletes a Secret for the sake of a new key gets it,
# and the next after so long; a quarrel rolls the pods no more often.
FRESH: Final = 600.0


@dataclass(slots=True)
class Issued:
    """The last issue by mirror: what it was for, what it is, and when it was made, in seconds of a monotonic clock."""

    _last: dict[str, tuple[tuple[str, str, str], KeyPair, float]] = field(default_factory=dict)

    def reuse_recent_certificate(self, mirror: Mirror, inputs: Inputs, present: Texts, now: float) -> Inputs:
        """The facts, with what was issued a short while ago where something was issued again since that was broken.

        `present` is what the mirror's Secret has for certificate and key. Where that is whole and yet there is another
        now, it was to be renewed.
        """
        tls, last = inputs.tls, self._last.get(mirror.name)
        if tls.secret is not None or _texts(tls.pair) == present:
            return inputs
        purpose = mirror.uid, mirror.masquerade, tls.ca
        if last is not None and last[0] == purpose and _texts(last[1]) != present and now - last[2] < FRESH:
            return replace(inputs, tls=replace(tls, pair=last[1]))
        self._last[mirror.name] = purpose, tls.pair, now
        return inputs

    def forget(self, mirror: str) -> None:
        """The mirror is gone."""
        self._last.pop(mirror, None)


def _texts(pair: KeyPair) -> Texts:
    return pair.certificate, pair.key
