"""Maintain both CAs, the serving certificate of the webhook, and the caBundle of its configurations.

The webhook has no rights in the cluster. It reads its certificate from a mounted Secret.
A separate CA for the mirrors keeps their certificates from being valid for the webhook.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from controller import clock
from controller.apply.conflict_limiter import ConflictLimiter
from controller.certificates import rotation
from controller.certificates.ca_bundle import bundles_in, with_bundle
from controller.certificates.mirror_certificate import pair_in
from controller.certificates.rotation import IssueRequest, RotationStep, TrustState
from controller.certificates.x509 import ca_renewal_due, can_sign, is_ca_current, issue_ca, renewal_due
from controller.duration_tracker import DurationTracker
from controller.kubeclient.errors import ClusterError
from controller.model.results import Outcome, RequeueAfter
from controller.objects import well_known
from controller.objects.preconditions import preconditions
from controller.objects.resources import MUTATING, SECRET, VALIDATING
from controller.objects.well_known import (
    ADMISSION_KEY,
    CONFIGURATIONS,
    MIRRORS_CA,
    WEBHOOK_CA,
    WEBHOOK_CERTIFICATE,
)
from controller.status import reasons

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator
    from datetime import datetime

    from common.logs import Logger
    from common.types import Json
    from controller.certificates.expiry import ExpiryWarner
    from controller.informer.cluster_cache import ClusterCache
    from controller.informer.store import Store
    from controller.kubeclient.client import KubeClient
    from controller.model.inputs import KeyPair
    from controller.objects.resources import Kind
    from controller.settings import ControllerSettings

    Wait = tuple[float, str]  # seconds, and a reason
    # Maintains one CA. Appends errors that do not prevent the rest. Returns the waits.
    Maintain = Callable[[datetime, list[ClusterError]], Awaitable[list[Wait]]]


WEBHOOK_SERVICE: Final = "registrymirror-webhook"
# All in seconds. The longest is for installations without a certificate to renew.
LONGEST_REQUEUE: Final = 43_200.0
# The ends of certificates are whole seconds.
SHORTEST_REQUEUE: Final = 1.0
# Fallback in case the watch misses the installation of a webhook configuration.
MISSING_REQUEUE: Final = 60.0
_LABELS: Final = names.recommended_labels(names.PRODUCT, "certificates")
CONFLICT: Final = reasons.CONFLICTING_WRITER.name
# Shortest time between two reconciles while another writer keeps changing an object.
CONFLICT_COOLDOWN: Final = 1.0


@dataclass(slots=True)
class AdmissionMemory:
    """State of the certificates that is not stored in the cluster. Another leader starts without it."""

    durations: DurationTracker = field(default_factory=DurationTracker)
    limiter: ConflictLimiter = field(default_factory=ConflictLimiter)
    versions: dict[str, str] = field(default_factory=dict)  # resource versions of the own writes
    ca_error: str | None = None  # of the mirrors' CA


@dataclass(slots=True)
class Admission:
    """Certificates and CAs of one installation in the namespace of the settings."""

    cluster: KubeClient
    settings: ControllerSettings
    state: ClusterCache
    expiry: ExpiryWarner
    log: Logger
    memory: AdmissionMemory = field(default_factory=AdmissionMemory)

    async def reconcile(self) -> Outcome:
        """Reconcile all certificates. Raise the first ClusterError after everything else is done."""
        now = clock.now()
        waits = [(LONGEST_REQUEUE, "CertificateRenewal")]
        errors: list[ClusterError] = []
        # The webhook first: without it no mirror can be stored.
        for maintain in self._maintained():
            try:
                waits += await maintain(now, errors)
            except ClusterError as error:
                errors.append(error)
        self.expiry.warn(now, clock.monotonic())
        if errors:
            raise errors[0]
        after, reason = min(waits)
        conflict = any(each == CONFLICT for _, each in waits)
        return RequeueAfter(max(SHORTEST_REQUEUE, after), reason, CONFLICT_COOLDOWN if conflict else 0.0)

    def report_failure(self) -> None:
        """Make each mirror report that the mirrors' CA cannot be created."""
        if self.memory.ca_error is not None:
            self.state.report_ca_failure(self.memory.ca_error)

    def forget(self) -> None:
        """Drop what this process remembers of an earlier term as leader."""
        self.memory, self.state.ca_failure = AdmissionMemory(), None

    def _maintained(self) -> Iterator[Maintain]:
        if not self.settings.external_webhook_certificate:
            yield self._maintain_webhook
        if self.settings.docker_certificate_secret is None:
            yield self._maintain_mirrors_ca

    async def _maintain_mirrors_ca(self, now: datetime, errors: list[ClusterError]) -> list[Wait]:
        try:
            ca = await self._ca(MIRRORS_CA, "registry mirrors", now, errors)
        except ClusterError as error:
            self.memory.ca_error = str(error)
            raise
        self.memory.ca_error = self.state.ca_failure = None
        return [self._until_ca_renewal(ca, now)]

    async def _maintain_webhook(self, now: datetime, errors: list[ClusterError]) -> list[Wait]:
        ca = await self._ca(WEBHOOK_CA, "registry mirror webhook", now, errors)
        return [self._until_ca_renewal(ca, now), *await self._rotate_webhook(ca, now)]

    async def _rotate_webhook(self, ca: KeyPair, now: datetime) -> list[Wait]:
        """Publish the bundle, then write the serving certificate. Return the waits."""
        service, lifetimes = f"{WEBHOOK_SERVICE}.{self.settings.namespace}", self.settings.lifetimes
        hosts = (f"{service}.svc", service, f"{service}.svc.cluster.local")
        trust = self._trust_state()
        step = rotation.next_step(trust, IssueRequest(ca, hosts, now, lifetimes), self._held_for)
        # A conflict is about trust in this CA; each new serving certificate must not count as a new desired state.
        desired = hash(ca.certificate)
        conflicts = [
            await self._publish(MUTATING, self.state.mutating, step.bundle, desired),
            await self._publish(VALIDATING, self.state.validating, step.bundle, desired),
            await self._write_serving(trust, step, desired),
        ]
        due = (renewal_due(step.serving.certificate, ca.certificate, lifetimes) - now).total_seconds()
        renewals = [due, *([] if step.wait is None else [step.wait])]
        return [*((each, "CertificateRenewal") for each in renewals), *(each for each in conflicts if each is not None)]

    def _trust_state(self) -> TrustState:
        """Return the state of the webhook. Its pods reload files, so the overlap alone settles them."""
        bundles = tuple(
            bundle for store in (self.state.mutating, self.state.validating) for bundle in bundles_in(store)
        )
        remembered = self.state.secret_text(WEBHOOK_CERTIFICATE, well_known.CA) or ""
        return TrustState(bundles, pair_in(self.state, WEBHOOK_CERTIFICATE), remembered)

    def _held_for(self, what: Hashable) -> float:
        return self.memory.durations.held_for(ADMISSION_KEY, what, clock.monotonic())

    def _until_ca_renewal(self, ca: KeyPair, now: datetime) -> Wait:
        due = ca_renewal_due(ca.certificate, self.settings.lifetimes)
        return (due - now).total_seconds(), "CertificateRenewal"

    async def _ca(self, name: str, title: str, now: datetime, errors: list[ClusterError]) -> KeyPair:
        """Return the CA in the Secret `name`, renewed if due. If storing fails, the present one is used to its end."""
        present = pair_in(self.state, name)
        if present is not None and is_ca_current(present, now, self.settings.lifetimes):
            return present
        ca = issue_ca(title, now, self.settings.lifetimes)
        try:
            await self._store(name, ca, {})
        except ClusterError as error:
            if present is None or not can_sign(present, now):
                raise
            errors.append(error)
            return present
        self.log.info("CA issued", secret=f"{self.settings.namespace}/{name}")
        return ca

    async def _write_serving(self, trust: TrustState, step: RotationStep, desired: int) -> Wait | None:
        """Write certificate and bundle. The stored bundle keeps former CAs if the configurations are recreated."""
        if (step.serving, step.bundle) == (trust.serving, trust.remembered):
            return None
        current, what = self.state.secrets.get(WEBHOOK_CERTIFICATE), f"{SECRET.name} {WEBHOOK_CERTIFICATE}"
        if wait := self._limit(what, desired, current):
            return wait, CONFLICT
        stored = await self._store(WEBHOOK_CERTIFICATE, step.serving, {well_known.CA: step.bundle})
        self._record(what, desired, current, stored)
        if step.serving != trust.serving:
            self.log.info("certificate issued", secret=f"{self.settings.namespace}/{WEBHOOK_CERTIFICATE}")
        return None

    def _limit(self, what: str, desired: int, current: Json | None) -> float:
        """Return the seconds until an object may be written, 0 if now."""
        if not self._is_foreign(what, current):
            return 0.0
        now = clock.monotonic()
        wait = self.memory.limiter.wait(what, desired, now)
        if wait and self.memory.limiter.is_new_conflict(what, now):
            self.log.warning("conflicting writer", object=what, retry_in=round(wait))
        return wait

    def _record(self, what: str, desired: int, current: Json | None, stored: Json) -> None:
        """Remember a write. It is a repair if another writer made the former version, as in no step of a rotation."""
        if self._is_foreign(what, current):
            self.memory.limiter.record_repair(what, desired, clock.monotonic())
        self.memory.versions[what] = stored["metadata"]["resourceVersion"]

    def _is_foreign(self, what: str, current: Json | None) -> bool:
        return current is not None and current["metadata"]["resourceVersion"] != self.memory.versions.get(what)

    async def _store(self, name: str, pair: KeyPair, more: dict[str, str]) -> Json:
        texts = {well_known.CERTIFICATE: pair.certificate, well_known.KEY: pair.key, **more}
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        namespace, current = self.settings.namespace, self.state.secrets.get(name)
        if current is not None and current.get("immutable"):  # it can only be replaced
            await self.cluster.delete(SECRET, namespace, current)
            self.log.info("immutable Secret replaced", secret=f"{namespace}/{name}")
            current = None
        if current is None:
            body = {
                "apiVersion": SECRET.api,
                "kind": SECRET.name,
                "metadata": {"name": name, "namespace": namespace, "labels": _LABELS},
                "type": "kubernetes.io/tls",
                "data": data,
            }
            stored = await self.cluster.create(SECRET, namespace, body)
        else:
            body = {"metadata": preconditions(current), "data": data}
            stored = await self.cluster.patch(SECRET, namespace, name, body)
        self.state.secrets.put(stored)
        return stored

    async def _publish(self, kind: Kind, store: Store, bundle: str, desired: int) -> Wait | None:
        """Write the bundle into a webhook configuration. Return a wait if that is not possible now."""
        current, what = store.get(CONFIGURATIONS), f"{kind.name} {CONFIGURATIONS}"
        if current is None:
            return MISSING_REQUEUE, "ConfigurationMissing"
        webhooks = with_bundle(current.get("webhooks") or [], bundle)
        if webhooks == current.get("webhooks"):
            return None
        if wait := self._limit(what, desired, current):
            return wait, CONFLICT
        body = {"metadata": preconditions(current), "webhooks": webhooks}
        stored = await self.cluster.patch(kind, None, CONFIGURATIONS, body)
        self._record(what, desired, current, stored)
        store.put(stored, quietly=True)
        self.log.info("CA bundle published", configuration=what)
        return None
