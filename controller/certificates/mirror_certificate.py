"""What a mirror's cache serves with, and what nodes trust it by: issued here, or a person's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller.certificates import rotation
from controller.certificates.expiry import Source, certificate_valid, seconds_to_change
from controller.certificates.rotation import IssueRequest, TrustState
from controller.certificates.x509 import can_sign, matches, renewal_due
from controller.desired.stateful_set import configuration_digest
from controller.informer.cluster_cache import ClusterCache, text_of
from controller.model.inputs import KeyPair, MissingInput, ServingCertificate
from controller.objects import well_known
from controller.objects.resources import STATEFUL_SET
from controller.objects.rollout import is_rolled_out
from controller.objects.well_known import CONFIGURATION_ANNOTATION, MIRRORS_AUTHORITY

if TYPE_CHECKING:
    from datetime import datetime

    from controller.certificates.rotation import Held
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings

_OURS: Final = "The controller renews it by itself; its log says what keeps it from that."


@dataclass(frozen=True, slots=True)
class MirrorCertificate:
    """One look at what a mirror serves with."""

    mirror: Mirror
    settings: ControllerSettings
    state: ClusterCache
    now: datetime
    held: Held

    def tls(self) -> ServingCertificate | MissingInput:
        """What the cache is to serve with now, or what is lacking for it."""
        named = self.settings.docker_certificate_secret
        return self._given(named) if named else self._issued()

    def _given(self, name: str) -> ServingCertificate | MissingInput:
        certificate, key = (
            self.state.secret_text(name, well_known.CERTIFICATE),
            self.state.secret_text(name, well_known.KEY),
        )
        where = f"Secret {name} (DOCKER_CERTIFICATE_SECRET)"
        if certificate is None or key is None:
            keys = f"{well_known.CERTIFICATE} or {well_known.KEY}"
            missing = f"{where} is missing, or lacks {keys}; create it, and the cache follows."
            return MissingInput("CertificateSecretMissing", missing)
        pair = KeyPair(certificate, key)
        if not matches(pair):
            wrong = (
                f"{where}: {well_known.CERTIFICATE} and {well_known.KEY} are no certificate and key that belong"
                " together; caches that run keep what they have."
            )
            return MissingInput("CertificateSecretInvalid", wrong)
        # Where no authority is given the certificate itself is what nodes trust, as the seed has it.
        authority = self.state.secret_text(name, well_known.AUTHORITY) or certificate
        overlap, warning = self.settings.lifetimes.overlap, self.settings.lifetimes.warning
        bundle, wait = rotation.given(self._place(pair), authority, overlap, self.held)
        validity = certificate_valid(Source(where), certificate, self.mirror.masquerade, self.now, warning)
        return ServingCertificate(
            bundle, pair, name, _soonest(wait, seconds_to_change(certificate, self.now, warning)), validity
        )

    def _issued(self) -> ServingCertificate | MissingInput:
        authority, lifetimes = pair_in(self.state, MIRRORS_AUTHORITY), self.settings.lifetimes
        if authority is None or not can_sign(authority, self.now):
            return _without_authority(self.state.authority_failure)
        name, host = self.mirror.object_name, self.mirror.masquerade
        hosts = (host, *names.service_hosts(self.mirror.name, self.settings.namespace))
        place = self._place(pair_in(self.state, name))
        step = rotation.step(place, IssueRequest(authority, hosts, self.now, lifetimes), self.held)
        shown = step.leaf.certificate
        due = (renewal_due(shown, authority.certificate, lifetimes) - self.now).total_seconds()
        source = Source(f"Secret {self.settings.namespace}/{name}", _OURS)
        validity = certificate_valid(source, shown, host, self.now, lifetimes.warning)
        return ServingCertificate(step.bundle, step.leaf, None, _soonest(step.wait, due), validity)

    def _place(self, leaf: KeyPair | None) -> TrustState:
        """What nodes trust this mirror by, and whether its cache pods were all started with `leaf`."""
        current = self.state.secrets.get(self.mirror.object_name)
        bundles = () if current is None else (text_of(current, well_known.AUTHORITY) or "",)
        return TrustState(bundles, leaf, settled=leaf is not None and self._started_with(leaf))

    def _started_with(self, leaf: KeyPair) -> bool:
        current = self.state.children[STATEFUL_SET].get(self.mirror.object_name)
        if current is None:
            return True
        named = self.settings.ca_certificate_bundle
        bundle = self.state.bundle(named) if named else None
        template = dict_at(current, "spec", "template", "metadata", "annotations")
        digest = configuration_digest(self.mirror, leaf, bundle)
        return template.get(CONFIGURATION_ANNOTATION) == digest and is_rolled_out(current)


def pair_in(state: ClusterCache, secret: str) -> KeyPair | None:
    """Certificate and key of a Secret; None where it lacks one of them."""
    current = state.secrets.get(secret)
    certificate, key = text_of(current, well_known.CERTIFICATE), text_of(current, well_known.KEY)
    return None if certificate is None or key is None else KeyPair(certificate, key)


def _without_authority(why: str | None) -> MissingInput:
    if why is None:
        return MissingInput("CAPending", "The certificate authority of the mirrors is being made.")
    failed = f"The certificate authority of the mirrors cannot be made; it is tried again, ever more rarely: {why}"
    return MissingInput("CAFailed", failed)


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)
