"""Choose the serving certificate of a mirror: issued by the controller, or given by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common import names
from controller.certificates import rotation
from controller.certificates.expiry import Source, certificate_valid, seconds_to_change
from controller.certificates.rotation import IssueRequest, TrustState
from controller.certificates.x509 import can_sign, is_key_pair, renewal_due
from controller.informer.cluster_cache import ClusterCache, text_of
from controller.model.inputs import KeyPair, MissingInput, ServingCertificate
from controller.objects import well_known
from controller.objects.well_known import MIRRORS_CA
from controller.status import reasons

if TYPE_CHECKING:
    from datetime import datetime

    from controller.certificates.rotation import HeldFor
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings

_RENEWED: Final = "The controller renews it; see the controller's log for errors."


@dataclass(frozen=True, slots=True)
class MirrorCertificate:
    """Serving certificate of one mirror at the time `now`."""

    mirror: Mirror
    settings: ControllerSettings
    state: ClusterCache
    now: datetime
    held_for: HeldFor

    def serving(self) -> ServingCertificate | MissingInput:
        """Return the certificate for the cache, or the reason for having none."""
        secret = self.settings.docker_certificate_secret
        return self._given(secret) if secret else self._issued()

    def _given(self, name: str) -> ServingCertificate | MissingInput:
        certificate = self.state.secret_text(name, well_known.CERTIFICATE)
        key = self.state.secret_text(name, well_known.KEY)
        where = f"Secret {name} (DOCKER_CERTIFICATE_SECRET)"
        if certificate is None or key is None:
            keys = f"{well_known.CERTIFICATE} or {well_known.KEY}"
            return MissingInput(
                reasons.CERTIFICATE_SECRET_MISSING.name, f"{where} does not exist or has no {keys}. Create it."
            )
        pair = KeyPair(certificate, key)
        if not is_key_pair(pair):
            invalid = (
                f"{where} holds no matching {well_known.CERTIFICATE} and {well_known.KEY}. Replace them."
                " Running caches keep their certificate."
            )
            return MissingInput(reasons.CERTIFICATE_SECRET_INVALID.name, invalid)
        # Without a CA, nodes trust the certificate itself, as mirror-operator did.
        ca = self.state.secret_text(name, well_known.CA) or certificate
        overlap, warning = self.settings.lifetimes.overlap, self.settings.lifetimes.warning
        bundle, wait = rotation.user_bundle(self._trust_state(pair), ca, overlap, self.held_for)
        validity = certificate_valid(Source(where), certificate, self.mirror.masquerade, self.now, warning)
        again = _soonest(wait, seconds_to_change(certificate, self.now, warning))
        return ServingCertificate(bundle, pair, name, again, validity)

    def _issued(self) -> ServingCertificate | MissingInput:
        ca, lifetimes = pair_in(self.state, MIRRORS_CA), self.settings.lifetimes
        if ca is None or not can_sign(ca, self.now):
            return _missing_ca(self.state.ca_failure)
        name, host = self.mirror.object_name, self.mirror.masquerade
        hosts = (host, *names.service_hosts(self.mirror.name, self.settings.namespace))
        trust = self._trust_state(pair_in(self.state, name))
        step = rotation.next_step(trust, IssueRequest(ca, hosts, self.now, lifetimes), self.held_for)
        certificate = step.serving.certificate
        due = (renewal_due(certificate, ca.certificate, lifetimes) - self.now).total_seconds()
        source = Source(f"Secret {self.settings.namespace}/{name}", _RENEWED)
        validity = certificate_valid(source, certificate, host, self.now, lifetimes.warning)
        return ServingCertificate(step.bundle, step.serving, None, _soonest(step.wait, due), validity)

    def _trust_state(self, serving: KeyPair | None) -> TrustState:
        current = self.state.secrets.get(self.mirror.object_name)
        bundles = () if current is None else (text_of(current, well_known.CA) or "",)
        return TrustState(bundles, serving)


def pair_in(state: ClusterCache, secret: str) -> KeyPair | None:
    """Return certificate and key of a Secret, or None if one is missing."""
    current = state.secrets.get(secret)
    certificate, key = text_of(current, well_known.CERTIFICATE), text_of(current, well_known.KEY)
    return None if certificate is None or key is None else KeyPair(certificate, key)


def _missing_ca(failure: str | None) -> MissingInput:
    if failure is None:
        return MissingInput(reasons.CA_PENDING.name, "The CA of the mirrors is being created.")
    return MissingInput(
        reasons.CA_FAILED.name, f"The CA of the mirrors cannot be created; retrying with backoff. {failure}"
    )


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)
