"""What a mirror's cache serves with, and what nodes trust it by: issued here, or a person's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller import trust
from controller.certificates import Pair, can_sign, matches, renewal_due
from controller.desired import files
from controller.desired.frame import CONFIGURATION_ANNOTATION
from controller.desired.stateful_set import configuration_digest
from controller.facts import Lacking, Tls
from controller.kinds import STATEFUL_SET
from controller.rollout import is_rolled_out
from controller.state import MIRRORS_AUTHORITY, State, text_of
from controller.trust import Issuing, Place
from controller.validity import Source, certificate_valid, seconds_to_change

if TYPE_CHECKING:
    from datetime import datetime

    from controller.mirror import Mirror
    from controller.settings import ControllerSettings
    from controller.trust import Held

_OURS: Final = "The controller renews it by itself; its log says what keeps it from that."


@dataclass(frozen=True, slots=True)
class Serving:
    """One look at what a mirror serves with."""

    mirror: Mirror
    settings: ControllerSettings
    state: State
    now: datetime
    held: Held

    def tls(self) -> Tls | Lacking:
        """What the cache is to serve with now, or what is lacking for it."""
        named = self.settings.docker_certificate_secret
        return self._given(named) if named else self._issued()

    def _given(self, name: str) -> Tls | Lacking:
        certificate, key = self.state.secret_text(name, files.CERTIFICATE), self.state.secret_text(name, files.KEY)
        where = f"Secret {name} (DOCKER_CERTIFICATE_SECRET)"
        if certificate is None or key is None:
            missing = (
                f"{where} is missing, or lacks {files.CERTIFICATE} or {files.KEY}; create it, and the cache follows."
            )
            return Lacking("CertificateSecretMissing", missing)
        pair = Pair(certificate, key)
        if not matches(pair):
            wrong = (
                f"{where}: {files.CERTIFICATE} and {files.KEY} are no certificate and key that belong together; caches"
                " that run keep what they have."
            )
            return Lacking("CertificateSecretInvalid", wrong)
        # Where no authority is given the certificate itself is what nodes trust, as the seed has it.
        authority = self.state.secret_text(name, files.AUTHORITY) or certificate
        overlap, warning = self.settings.lifetimes.overlap, self.settings.lifetimes.warning
        bundle, wait = trust.given(self._place(pair), authority, overlap, self.held)
        validity = certificate_valid(Source(where), certificate, self.mirror.masquerade, self.now, warning)
        return Tls(bundle, pair, name, _soonest(wait, seconds_to_change(certificate, self.now, warning)), validity)

    def _issued(self) -> Tls | Lacking:
        authority, lifetimes = pair_in(self.state, MIRRORS_AUTHORITY), self.settings.lifetimes
        if authority is None or not can_sign(authority, self.now):
            return _without_authority(self.state.authority_failure)
        name, host = self.mirror.object_name, self.mirror.masquerade
        hosts = (host, *names.service_hosts(self.mirror.name, self.settings.namespace))
        place = self._place(pair_in(self.state, name))
        step = trust.step(place, Issuing(authority, hosts, self.now, lifetimes), self.held)
        shown = step.leaf.certificate
        due = (renewal_due(shown, authority.certificate, lifetimes) - self.now).total_seconds()
        source = Source(f"Secret {self.settings.namespace}/{name}", _OURS)
        validity = certificate_valid(source, shown, host, self.now, lifetimes.warning)
        return Tls(step.bundle, step.leaf, None, _soonest(step.wait, due), validity)

    def _place(self, leaf: Pair | None) -> Place:
        """What nodes trust this mirror by, and whether its cache pods were all started with `leaf`."""
        live = self.state.secrets.get(self.mirror.object_name)
        bundles = () if live is None else (text_of(live, files.AUTHORITY) or "",)
        return Place(bundles, leaf, settled=leaf is not None and self._started_with(leaf))

    def _started_with(self, leaf: Pair) -> bool:
        live = self.state.children[STATEFUL_SET].get(self.mirror.object_name)
        if live is None:
            return True
        named = self.settings.ca_certificate_bundle
        bundle = self.state.bundle(named) if named else None
        template = dict_at(live, "spec", "template", "metadata", "annotations")
        digest = configuration_digest(self.mirror, leaf, bundle)
        return template.get(CONFIGURATION_ANNOTATION) == digest and is_rolled_out(live)


def pair_in(state: State, secret: str) -> Pair | None:
    """Certificate and key of a Secret; None where it lacks one of them."""
    live = state.secrets.get(secret)
    certificate, key = text_of(live, files.CERTIFICATE), text_of(live, files.KEY)
    return None if certificate is None or key is None else Pair(certificate, key)


def _without_authority(why: str | None) -> Lacking:
    if why is None:
        return Lacking("AuthorityPending", "The certificate authority of the mirrors is being made.")
    failed = f"The certificate authority of the mirrors cannot be made; it is tried again, ever more rarely: {why}"
    return Lacking("AuthorityFailed", failed)


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)
