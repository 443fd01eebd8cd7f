"""Keeps admission trusted: the two authorities, the webhook's certificate, and caBundle in both configurations.

The webhook itself may do nothing in the cluster: it finds its certificate mounted, and the API server finds the
authority in the configurations. Two authorities, because a mirror's certificate must not pass as the webhook's.
"""

from __future__ import annotations

import base64
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common.defaults import dict_at
from controller import clock
from controller.certificates import rotation
from controller.certificates.mirror_certificate import pair_in
from controller.certificates.rotation import IssueRequest, RotationStep, TrustState
from controller.certificates.x509 import can_sign, issue_authority, renewal_due, succession_due, usable_authority
from controller.kubeclient.errors import ClusterError
from controller.model.results import Outcome, RequeueAfter
from controller.objects import well_known
from controller.objects.preconditions import preconditions
from controller.objects.resources import MUTATING, SECRET, VALIDATING
from controller.objects.well_known import (
    ADMISSION_KEY,
    CONFIGURATIONS,
    MIRRORS_AUTHORITY,
    WEBHOOK_AUTHORITY,
    WEBHOOK_CERTIFICATE,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterator
    from datetime import datetime

    from common.logs import Logger
    from common.types import Json
    from controller.apply.quarrels import Quarrels
    from controller.certificates.expiry_warner import ExpiryWarner
    from controller.duration_tracker import DurationTracker
    from controller.informer.cluster_cache import ClusterCache
    from controller.informer.store import Store
    from controller.kubeclient.client import KubeClient
    from controller.model.inputs import KeyPair
    from controller.objects.resources import Kind
    from controller.settings import ControllerSettings

    # Seconds, and what for.
    Wait = tuple[float, str]
    # Keeps one authority's side; appends what failed and stands in the way of nothing else. Returns what to wait for.
    Keep = Callable[[datetime, list[ClusterError]], Awaitable[list[Wait]]]


WEBHOOK_SERVICE: Final = "registrymirror-webhook"
# Seconds: what is due lies months ahead; clocks that are set are noticed by themselves.
LONGEST_LOOK: Final = 43_200.0
# Seconds until a configuration that is not installed is looked for without having been seen to appear.
MISSING_LOOK: Final = 60.0
# Seconds: what is due now was done in this pass, and the ends of certificates are whole seconds.
SHORTEST_LOOK: Final = 1.0
CONTESTED: Final = "ConflictingWriter"
# Seconds of quiet while somebody keeps changing what is kept here: each change would be looked at otherwise, in vain.
CONFLICT_COOLDOWN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Admission:
    """Certificates and authorities of one installation, whose Service is in the namespace of the settings."""

    cluster: KubeClient
    settings: ControllerSettings
    state: ClusterCache
    durations: DurationTracker
    quarrels: Quarrels
    ends: ExpiryWarner
    log: Logger
    _refused: list[str] = field(default_factory=list)  # why the mirrors' authority could not be made

    async def reconcile(self) -> Outcome:
        """One pass. Raises ClusterError where a request failed, after all that does not depend on it is done."""
        now = clock.now()
        waits = [(LONGEST_LOOK, "CertificateRenewal")]
        failed: list[ClusterError] = []
        # The webhook first: without it nothing can be stored, while a mirror that is late costs nobody a pull.
        for keep in self._kept():
            try:
                waits += await keep(now, failed)
            except ClusterError as error:
                failed.append(error)
        self.ends.tell(now, clock.running())
        if failed:
            raise failed[0]
        after, reason = min(waits)
        contested = any(each == CONTESTED for _, each in waits)
        return RequeueAfter(max(SHORTEST_LOOK, after), reason, CONFLICT_COOLDOWN if contested else 0.0)

    def tell(self) -> None:
        """Lets the mirrors say why they have no authority, where it is that which failed again and again."""
        if self._refused:
            self.state.authority_failed(self._refused[-1])

    def _kept(self) -> Iterator[Keep]:
        if not self.settings.external_webhook_certificate:
            yield self._webhooks
        if self.settings.docker_certificate_secret is None:
            yield self._mirrors

    async def _mirrors(self, now: datetime, failed: list[ClusterError]) -> list[Wait]:
        try:
            authority = await self._authority(MIRRORS_AUTHORITY, "registry mirrors", now, failed)
        except ClusterError as error:
            self._refused[:] = [str(error)]
            raise
        self._refused.clear()
        self.state.authority_failure = None
        return [self._until_succession(authority, now)]

    async def _webhooks(self, now: datetime, failed: list[ClusterError]) -> list[Wait]:
        authority = await self._authority(WEBHOOK_AUTHORITY, "registry mirror webhook", now, failed)
        return [self._until_succession(authority, now), *await self._webhook(authority, now)]

    async def _webhook(self, authority: KeyPair, now: datetime) -> list[Wait]:
        """Certificate and bundles of the webhook; returns when and for what to look again."""
        service, lifetimes = f"{WEBHOOK_SERVICE}.{self.settings.namespace}", self.settings.lifetimes
        hosts = (f"{service}.svc", service, f"{service}.svc.cluster.local")
        place = self._place()
        step = rotation.step(place, IssueRequest(authority, hosts, now, lifetimes), self._held)
        # What is fought over is trust in one authority, whatever else is in the bundle or comes with each new leaf.
        desired = hash(authority.certificate)
        contested = [
            await self._publish(MUTATING, self.state.mutating, step.bundle, desired),
            await self._publish(VALIDATING, self.state.validating, step.bundle, desired),
            await self._keep_leaf(place, step, desired),
        ]
        due = (renewal_due(step.leaf.certificate, authority.certificate, lifetimes) - now).total_seconds()
        later = [due, *([] if step.wait is None else [step.wait])]
        return [*((each, "CertificateRenewal") for each in later), *(each for each in contested if each is not None)]

    def _place(self) -> TrustState:
        """The webhook as the API server and its pods see it: they follow their files, so that time settles them."""
        bundles = tuple(bundle for store in (self.state.mutating, self.state.validating) for bundle in _bundles(store))
        remembered = self.state.secret_text(WEBHOOK_CERTIFICATE, well_known.AUTHORITY) or ""
        return TrustState(bundles, pair_in(self.state, WEBHOOK_CERTIFICATE), remembered)

    def _held(self, what: Hashable) -> float:
        return self.durations.held(ADMISSION_KEY, what, clock.running())

    def _until_succession(self, authority: KeyPair, now: datetime) -> Wait:
        due = succession_due(authority.certificate, self.settings.lifetimes)
        return (due - now).total_seconds(), "CertificateRenewal"

    async def _authority(self, name: str, title: str, now: datetime, failed: list[ClusterError]) -> KeyPair:
        """The authority in force. One whose successor cannot be stored goes on, as long as it has not ended."""
        present = pair_in(self.state, name)
        if present is not None and usable_authority(present, now, self.settings.lifetimes):
            return present
        made = issue_authority(title, now, self.settings.lifetimes)
        try:
            await self._store(name, made, {})
        except ClusterError as error:
            if present is None or not can_sign(present, now):
                raise
            failed.append(error)
            return present
        self.log.info("authority issued", secret=f"{self.settings.namespace}/{name}")
        return made

    async def _keep_leaf(self, place: TrustState, step: RotationStep, desired: int) -> Wait | None:
        """The bundle is kept beside the leaf: former authorities are known by it where configurations are made anew."""
        if (step.leaf, step.bundle) == (place.leaf, place.remembered):
            return None
        current, what = self.state.secrets.get(WEBHOOK_CERTIFICATE), f"{SECRET.name} {WEBHOOK_CERTIFICATE}"
        wait = self.quarrels.wait(what, desired, current)
        if wait:
            return wait, CONTESTED
        stored = await self._store(WEBHOOK_CERTIFICATE, step.leaf, {well_known.AUTHORITY: step.bundle})
        self.quarrels.written(what, desired, current, stored)
        if step.leaf != place.leaf:
            self.log.info("certificate issued", secret=f"{self.settings.namespace}/{WEBHOOK_CERTIFICATE}")
        return None

    async def _store(self, name: str, pair: KeyPair, more: dict[str, str]) -> Json:
        texts = {well_known.CERTIFICATE: pair.certificate, well_known.KEY: pair.key, **more}
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        namespace, current = self.settings.namespace, self.state.secrets.get(name)
        if current is not None and current.get("immutable"):  # so made by somebody: it can be replaced, and not changed
            await self.cluster.delete(SECRET, namespace, current)
            self.log.info("immutable Secret replaced", secret=f"{namespace}/{name}")
            current = None
        if current is None:
            body = {
                "apiVersion": SECRET.api,
                "kind": SECRET.name,
                "metadata": {"name": name, "namespace": namespace},
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
        """Returns when and for what to look again; None where it is published."""
        current, what = store.get(CONFIGURATIONS), f"{kind.name} {CONFIGURATIONS}"
        if current is None:
            return MISSING_LOOK, "ConfigurationMissing"
        webhooks = with_bundle(current.get("webhooks") or [], bundle)
        if webhooks == current.get("webhooks"):
            return None
        wait = self.quarrels.wait(what, desired, current)
        if wait:
            return wait, CONTESTED
        body = {"metadata": preconditions(current), "webhooks": webhooks}
        stored = await self.cluster.patch(kind, None, CONFIGURATIONS, body)
        self.quarrels.written(what, desired, current, stored)
        store.put(stored, quietly=True)
        self.log.info("authority published", configuration=what)
        return None


def with_bundle(webhooks: list[Json], bundle: str) -> list[Json]:
    """The webhooks of a configuration with `bundle` (PEM) as what the API server trusts them by."""
    encoded = base64.b64encode(bundle.encode()).decode()
    changed = copy.deepcopy(webhooks)
    for webhook in changed:
        webhook.setdefault("clientConfig", {})["caBundle"] = encoded
    return changed


def _bundles(store: Store) -> Iterator[str]:
    """What each webhook of a configuration is trusted by; the API server lets no caBundle in that is no base64."""
    for webhook in (store.get(CONFIGURATIONS) or {}).get("webhooks") or []:
        encoded = dict_at(webhook, "clientConfig").get("caBundle") or ""
        yield base64.b64decode(encoded).decode("utf-8", "replace")
