"""A place where peers trust by a bundle and servers show a certificate, brought from one authority to the next.

The order is always the same, whether an authority comes to its end, is lost, or is replaced by a person's own: its
successor is *added* to the bundle; when that has surely arrived, *used*, by a certificate that it signs; when that has
surely arrived, the old one is *removed*. All of it follows from what the place holds now: the authority in force is the
one in its Secret, what was trusted so far stands in the bundle, and whose certificate is in use can be checked. So
nothing is remembered that could be lost, and one place that is held up delays no other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.certificates.x509 import certificates_in, issue_leaf, issued_by, renewal_due, serves, spelt

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from controller.model.certificate_lifetimes import Lifetimes
    from controller.model.inputs import KeyPair

# Given what is so now, the seconds for which it has been so; None: nothing is waited for.
Held = Callable[[Hashable], float]


def never(_: Hashable) -> float:
    """For who only looks and decides nothing: nothing has been so for any time."""
    return 0.0


# Certificates in a bundle: current and former, and former ones of somebody who loses the Secret again and again within
# minutes. More would let a bundle grow without an end.
TRUSTED_MAX: Final = 6
# Seconds: what is written now is looked at again, and its time begins.
AT_ONCE: Final = 0.0


@dataclass(frozen=True, slots=True)
class TrustState:
    """What a place holds. `bundles` are all the copies of its bundle, as peers read them; PEM, or empty.

    `remembered` was published with the leaf: what is left to tell a former authority by where the bundles are lost.
    `settled`: every server is known to have been started with this leaf.
    """

    bundles: tuple[str, ...]
    leaf: KeyPair | None
    remembered: str = ""
    settled: bool = True


@dataclass(frozen=True, slots=True)
class RotationStep:
    """What a place is to hold. The bundle is to be written before the leaf; `wait` is in seconds, None for no end."""

    bundle: str
    leaf: KeyPair
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """Who issues, for whom, and when."""

    authority: KeyPair
    hosts: tuple[str, ...]
    now: datetime
    lifetimes: Lifetimes


def step(place: TrustState, issuing: IssueRequest, held: Held) -> RotationStep:
    """The next step of a place; the same place as it is where there is none to take."""
    current = spelt(issuing.authority.certificate)
    former = [each for each in _trusted(place) if each != current]
    leaf = place.leaf
    signer = _signer(leaf, [current, *former], issuing)
    if leaf is None or signer is None:
        return _issued(current, former, issuing, held)
    if signer == current:
        if issuing.now > renewal_due(leaf.certificate, current, issuing.lifetimes):
            return _issued(current, former, issuing, held)
        left = _until_left(place, former, leaf.certificate, issuing.lifetimes.overlap, held)
        return RotationStep(current, leaf) if left == 0.0 else RotationStep(_bundle(current, former), leaf, left)
    # Also where the leaf has ended: more likely this clock is ahead than that nobody was here for months.
    left = _until_arrived(place, current, issuing.lifetimes.overlap, held)
    if left == 0.0:
        return _issued(current, former, issuing, held)
    # Whose leaves may be in use come first, the present one's and those from before it: a bundle that is cut must not
    # lose them. Those that came after it have signed nothing yet.
    at = former.index(signer)
    return RotationStep(_bundle(current, [*former[at:], *former[:at]]), leaf, AT_ONCE if left is None else left)


def given(place: TrustState, authority: str, overlap: timedelta, held: Held) -> tuple[str, float | None]:
    """The bundle where a person gives certificate and `authority` (any text), and seconds until it is to be shorter.

    What was trusted before stays until every server has been started anew and nodes have had time to follow.
    """
    known = certificates_in(authority)
    former = [each for each in _trusted(place) if each not in known]
    left = _until_left(place, former, authority, overlap, held)
    if left == 0.0:
        return authority, None
    return "".join((authority.rstrip("\n"), "\n", *former[: TRUSTED_MAX - 1])), left


def _signer(leaf: KeyPair | None, known: list[str], issuing: IssueRequest) -> str | None:
    """Who of those that are trusted signed the leaf; None where that is of no use."""
    if leaf is None or not serves(leaf, issuing.hosts):
        return None
    return next((each for each in known if issued_by(leaf.certificate, each)), None)


def _issued(current: str, former: list[str], issuing: IssueRequest, held: Held) -> RotationStep:
    """A new leaf. The one before may be in use for a while yet, whoever signed it."""
    held(None)
    leaf = issue_leaf(issuing.authority, issuing.hosts, issuing.now, issuing.lifetimes)
    return RotationStep(_bundle(current, former), leaf, AT_ONCE if former else None)


def _until_arrived(place: TrustState, current: str, overlap: timedelta, held: Held) -> float | None:
    """Seconds until every peer has a bundle with the authority in force; None while not even those here have it."""
    arrived = all(current in certificates_in(bundle) for bundle in place.bundles)
    seconds = held(("arriving", current) if arrived else None)
    return _left(overlap, seconds) if arrived else None


def _until_left(place: TrustState, former: list[str], shown: str, overlap: timedelta, held: Held) -> float | None:
    """Seconds until nobody can be shown anything of the former ones; None while servers are to be started anew."""
    if not former:
        held(None)
        return 0.0
    seconds = held(("leaving", tuple(former), shown) if place.settled else None)
    return _left(overlap, seconds) if place.settled else None


def _left(overlap: timedelta, seconds: float) -> float:
    return max(0.0, overlap.total_seconds() - seconds)


def _trusted(place: TrustState) -> list[str]:
    return certificates_in("\n".join((*place.bundles, place.remembered)))


def _bundle(current: str, former: list[str]) -> str:
    return "".join(list(dict.fromkeys((current, *former)))[:TRUSTED_MAX])
