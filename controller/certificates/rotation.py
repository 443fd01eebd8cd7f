"""Replace a CA without an interruption of trust.

The new CA is added to the bundle. After an overlap it signs the serving certificate. After another overlap the old CA
is removed from the bundle. Each step follows from what the Secrets and bundles hold, so no progress can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.certificates.x509 import certificates_in, is_for, issue_certificate, issued_by, normalized, renewal_due

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from controller.model.certificate_lifetimes import Lifetimes
    from controller.model.inputs import KeyPair

# Return the seconds for which the given state has lasted; None stands for no state.
HeldFor = Callable[[Hashable], float]


def never(_: Hashable) -> float:
    """Return 0: no state has lasted for any time."""
    return 0.0


# Certificates in a bundle. The limit stops a bundle from growing while a CA is lost again and again.
TRUSTED_MAX: Final = 6
IMMEDIATELY: Final = 0.0  # seconds: reconcile again, so that the overlap begins


@dataclass(frozen=True, slots=True)
class TrustState:
    """Bundles and serving certificate of one server, all PEM. `bundles` are all copies of the bundle.

    `remembered` is the bundle stored beside the serving certificate, used if the copies are lost.
    Servers follow the files of a mounted Secret: the overlap is longer than a kubelet takes to update them.
    """

    bundles: tuple[str, ...]
    serving: KeyPair | None
    remembered: str = ""


@dataclass(frozen=True, slots=True)
class RotationStep:
    """Desired bundle and serving certificate; write the bundle first. `wait` is in seconds."""

    bundle: str
    serving: KeyPair
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """Parameters of a serving certificate."""

    ca: KeyPair
    hosts: tuple[str, ...]
    now: datetime
    lifetimes: Lifetimes


def next_step(state: TrustState, request: IssueRequest, held_for: HeldFor) -> RotationStep:
    """Return the next step of the rotation. It equals the present state if the rotation is complete."""
    current = normalized(request.ca.certificate)
    former = [each for each in _trusted(state) if each != current]
    serving, overlap = state.serving, request.lifetimes.overlap
    signer = _signer(serving, [current, *former], request)
    if serving is None or signer is None:
        return _issue(current, former, request, held_for)
    if signer == current:
        if request.now > renewal_due(serving.certificate, current, request.lifetimes):
            return _issue(current, former, request, held_for)
        rest = _until_removable(former, serving.certificate, overlap, held_for)
        return RotationStep(_bundle(current, former), serving, rest) if rest else RotationStep(current, serving)
    # Also if the serving certificate has expired: the clock is more likely to be wrong.
    left = _until_usable(state, current, overlap, held_for)
    if left == 0.0:
        return _issue(current, former, request, held_for)
    # The signer and the CAs before it come first, so that a truncated bundle keeps them. Later CAs signed nothing yet.
    at = former.index(signer)
    bundle = _bundle(current, [*former[at:], *former[:at]])
    return RotationStep(bundle, serving, IMMEDIATELY if left is None else left)


def user_bundle(state: TrustState, ca: str, overlap: timedelta, held_for: HeldFor) -> tuple[str, float | None]:
    """Return the bundle for a user's `ca` (any text), and the seconds until former CAs can be removed from it."""
    known = certificates_in(ca)
    former = [each for each in _trusted(state) if each not in known]
    left = _until_removable(former, ca, overlap, held_for)
    if left == 0.0:
        return ca, None
    return "".join((ca.rstrip("\n"), "\n", *former[: TRUSTED_MAX - 1])), left


def _signer(serving: KeyPair | None, known: list[str], request: IssueRequest) -> str | None:
    """Return the trusted CA that signed the serving certificate, or None if the certificate is unusable."""
    if serving is None or not is_for(serving, request.hosts):
        return None
    return next((each for each in known if issued_by(serving.certificate, each)), None)


def _issue(current: str, former: list[str], request: IssueRequest, held_for: HeldFor) -> RotationStep:
    """Issue a serving certificate. Former CAs stay trusted while servers use the old one."""
    held_for(None)
    serving = issue_certificate(request.ca, request.hosts, request.now, request.lifetimes)
    return RotationStep(_bundle(current, former), serving, IMMEDIATELY if former else None)


def _until_usable(state: TrustState, current: str, overlap: timedelta, held_for: HeldFor) -> float | None:
    """Return the seconds until all clients trust the current CA, or None if a copy of the bundle lacks it."""
    published = all(current in certificates_in(bundle) for bundle in state.bundles)
    seconds = held_for(("published", current) if published else None)
    return _left(overlap, seconds) if published else None


def _until_removable(former: list[str], serving: str, overlap: timedelta, held_for: HeldFor) -> float:
    """Return the seconds until all servers use this certificate, so that the former CAs can be removed."""
    if not former:
        held_for(None)
        return 0.0
    return _left(overlap, held_for(("unused", tuple(former), serving)))


def _left(overlap: timedelta, seconds: float) -> float:
    return max(0.0, overlap.total_seconds() - seconds)


def _trusted(state: TrustState) -> list[str]:
    return certificates_in("\n".join((*state.bundles, state.remembered)))


def _bundle(current: str, former: list[str]) -> str:
    return "".join(list(dict.fromkeys((current, *former)))[:TRUSTED_MAX])
