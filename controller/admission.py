"""Keeps admission trusted: the two authorities, the webhook's certificate, and caBundle in both configurations.

The webhook itself may do nothing in the cluster: it finds its certificate mounted, and the API server finds the
authority in the configurations. Two authorities, because a mirror's certificate must not pass as the webhook's.
"""

from __future__ import annotations

import base64
import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from controller.certificates import Pair, issue_authority, issue_leaf, renewal_due, usable_authority, usable_leaf
from controller.desired import files
from controller.gather import pair_in
from controller.kinds import MUTATING, SECRET, VALIDATING, Kind
from controller.outcomes import Outcome, Waiting
from controller.state import (
    CONFIGURATIONS,
    MIRRORS_AUTHORITY,
    WEBHOOK_AUTHORITY,
    WEBHOOK_CERTIFICATE,
    State,
)

if TYPE_CHECKING:
    from common.logs import Logger
    from controller.cluster import Cluster
    from controller.store import Store

Json = dict[str, Any]

WEBHOOK_SERVICE: Final = "registrymirror-webhook"
# Seconds: what is due lies months ahead; looking twice a day bears a clock that jumps.
LONGEST_LOOK: Final = 43_200.0
# Seconds until a configuration that is not installed is looked for without having been seen to appear.
MISSING_LOOK: Final = 60.0


@dataclass(frozen=True, slots=True)
class Admission:
    """Certificates and authorities of one installation, whose Service is in `namespace`."""

    cluster: Cluster
    namespace: str
    state: State
    log: Logger

    async def reconcile(self) -> Outcome:
        """One pass. Raises ClusterError where a request failed."""
        now = datetime.now(UTC)
        await self._authority(MIRRORS_AUTHORITY, "registry mirrors", now)
        authority = await self._authority(WEBHOOK_AUTHORITY, "registry mirror webhook", now)
        leaf = await self._leaf(authority, now)
        published = [
            await self._publish(MUTATING, self.state.mutating, authority.certificate),
            await self._publish(VALIDATING, self.state.validating, authority.certificate),
        ]
        due = (renewal_due(leaf.certificate) - now).total_seconds()
        longest = LONGEST_LOOK if all(published) else MISSING_LOOK
        return Waiting(max(1.0, min(due, longest)), "CertificateRenewal")

    async def _authority(self, name: str, title: str, now: datetime) -> Pair:
        present = pair_in(self.state, name)
        if present is not None and usable_authority(present, now):
            return present
        made = issue_authority(title, now)
        await self._store(name, made, {})
        self.log.info("authority issued", secret=f"{self.namespace}/{name}")
        return made

    async def _leaf(self, authority: Pair, now: datetime) -> Pair:
        service = f"{WEBHOOK_SERVICE}.{self.namespace}"
        hosts = (f"{service}.svc", service, f"{service}.svc.cluster.local")
        present = pair_in(self.state, WEBHOOK_CERTIFICATE)
        if present is not None and usable_leaf(present, authority, hosts, now):
            return present
        made = issue_leaf(authority, hosts, now)
        await self._store(WEBHOOK_CERTIFICATE, made, {files.AUTHORITY: authority.certificate})
        self.log.info("certificate issued", secret=f"{self.namespace}/{WEBHOOK_CERTIFICATE}")
        return made

    async def _store(self, name: str, pair: Pair, more: dict[str, str]) -> None:
        texts = {files.CERTIFICATE: pair.certificate, files.KEY: pair.key, **more}
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        live = self.state.secrets.get(name)
        if live is None:
            body = {
                "apiVersion": SECRET.api,
                "kind": SECRET.name,
                "metadata": {"name": name, "namespace": self.namespace},
                "type": "kubernetes.io/tls",
                "data": data,
            }
            stored = await self.cluster.create(SECRET, self.namespace, body)
        else:
            version = {"uid": live["metadata"]["uid"], "resourceVersion": live["metadata"]["resourceVersion"]}
            stored = await self.cluster.patch(SECRET, self.namespace, name, {"metadata": version, "data": data})
        self.state.secrets.put(stored)

    async def _publish(self, kind: Kind, store: Store, authority: str) -> bool:
        """Returns whether there is such a configuration."""
        live = store.get(CONFIGURATIONS)
        if live is None:
            return False
        webhooks = with_bundle(live.get("webhooks") or [], authority)
        if webhooks != live.get("webhooks"):
            metadata = {"uid": live["metadata"]["uid"], "resourceVersion": live["metadata"]["resourceVersion"]}
            body = {"metadata": metadata, "webhooks": webhooks}
            store.put(await self.cluster.patch(kind, None, CONFIGURATIONS, body), quietly=True)
            self.log.info("authority published", configuration=f"{kind.name} {CONFIGURATIONS}")
        return True


def with_bundle(webhooks: list[Json], authority: str) -> list[Json]:
    """The webhooks of a configuration with `authority` (PEM) as what the API server trusts them by."""
    bundle = base64.b64encode(authority.encode()).decode()
    changed = copy.deepcopy(webhooks)
    for webhook in changed:
        webhook.setdefault("clientConfig", {})["caBundle"] = bundle
    return changed
