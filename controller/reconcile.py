"""One reconcile of one mirror, as a table of contents: read, judge, gather, apply, report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from common import names
from common.defaults import dict_at
from controller import events
from controller.apply import Applied
from controller.certificates import renewal_due
from controller.conditions import stated
from controller.desired import desired_objects
from controller.errors import Forbidden, Invalid, NotFound
from controller.facts import Lacking
from controller.findings import Findings
from controller.gather import gather
from controller.kinds import DAEMON_SET, MIRROR, SERVICE, STATEFUL_SET
from controller.mirror import judge
from controller.outcomes import Done, Outcome, Stalled, Waiting
from controller.report import status_of, status_of_invalid, status_patch
from controller.standing import Standing, standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apply import Applier
    from controller.cluster import Cluster
    from controller.events import Recorder
    from controller.facts import Facts
    from controller.kinds import Kind
    from controller.mirror import Mirror
    from controller.settings import ControllerSettings
    from controller.state import State
    from controller.storage import Storage

Json = dict[str, Any]

# Seconds. A certificate's renewal lies months ahead; looking twice a day bears a clock that jumps.
LONGEST_LOOK: Final = 43_200.0
# What the watch brings by itself, should it ever not: an object on its way out, a claim that is to be bound.
PASSING_LOOK: Final = 10.0
# A quota, an admission rule of somebody else's, a StorageClass: mended elsewhere, without an event for us.
REFUSED_LOOK: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings mirrors to what their spec says."""

    cluster: Cluster
    settings: ControllerSettings
    state: State
    applier: Applier
    storage: Storage
    recorder: Recorder

    async def reconcile(self, name: str) -> Outcome:
        """One pass over the mirror of that name. Raises ClusterError where a request failed: try again later."""
        raw = self.state.mirrors.get(name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            self._forget(name)
            return Done()
        mirror = judge(raw, self.settings.masquerade_domains)
        now = datetime.now(UTC)
        if isinstance(mirror, list):
            await self._publish(raw, status_of_invalid(raw, mirror, _stamp(now)))
            return Stalled("InvalidSpec", "; ".join(map(str, mirror)))
        facts = gather(mirror, self.settings, self.state, now)
        findings = await self._act(raw, mirror, facts)
        await self._publish(raw, status_of(raw, mirror, findings, self.settings.namespace, _stamp(now)))
        return _outcome(findings, now)

    async def _act(self, raw: Json, mirror: Mirror, facts: Facts | Lacking) -> Findings:
        if isinstance(facts, Lacking):
            return self._observed(mirror, Findings(facts))
        applied = Applied()
        try:
            storage = await self.storage.settle(mirror)
            if storage.replacing:
                return self._observed(mirror, Findings(facts, storage=storage))
            await self.applier.apply(mirror, desired_objects(mirror, self.settings, facts), applied)
        except (Forbidden, Invalid) as error:
            return self._observed(mirror, Findings(facts, applied, refused=str(error)))
        finally:
            # Told even where a later request failed: the next pass finds it done and has nothing to tell.
            seen = dict_at(raw, "status").get("observedGeneration")
            changed = seen != raw["metadata"].get("generation")
            self.recorder.record(raw, events.deeds(applied, first=seen is None, changed=changed))
        refused = "; ".join(applied.refused.values()) or None
        return self._observed(mirror, Findings(facts, applied, storage, refused=refused))

    def _observed(self, mirror: Mirror, found: Findings) -> Findings:
        return Findings(
            facts=found.facts,
            applied=found.applied,
            storage=found.storage,
            service=self._seen(SERVICE, mirror),
            stateful_set=self._seen(STATEFUL_SET, mirror),
            daemon_set=self._seen(DAEMON_SET, mirror),
            refused=found.refused,
        )

    def _seen(self, kind: Kind, mirror: Mirror) -> Json | None:
        """The object of that kind; a foreign one says nothing about the mirror."""
        live = self.state.children[kind].get(mirror.object_name)
        return None if live is None or standing(live, mirror) is Standing.FOREIGN else live

    async def _publish(self, raw: Json, status: Json) -> None:
        before = dict_at(raw, "status")
        patch = status_patch(before, status)
        if patch is None:
            return
        metadata = {"uid": raw["metadata"]["uid"], "resourceVersion": raw["metadata"]["resourceVersion"]}
        body = {"metadata": metadata, "status": patch}
        name, mirrors = raw["metadata"]["name"], self.state.mirrors
        try:
            with mirrors.writing(name):
                mirrors.put(await self.cluster.patch(MIRROR, None, name, body, subresource="status"), quietly=True)
        except NotFound:
            return  # deleted meanwhile: there is nobody left to tell
        self.recorder.record(raw, events.transitions(stated(raw), status["conditions"]))

    def _forget(self, name: str) -> None:
        for child in (names.object_name(name), names.headless_name(name)):
            for kind in self.state.children:
                self.applier.contest.forget(f"{kind.name} {child}")


def _outcome(findings: Findings, now: datetime) -> Outcome:
    if isinstance(findings.facts, Lacking):
        return Stalled(findings.facts.reason, findings.facts.message)
    waits = dict(_waits(findings, findings.facts, now))
    reason = min(waits, key=waits.__getitem__, default=None)
    return Done() if reason is None else Waiting(waits[reason], reason)


def _waits(findings: Findings, facts: Facts, now: datetime) -> Iterator[tuple[str, float]]:
    """Everything that is to be looked at again without an event having to bring it back, and in how many seconds."""
    applied, storage = findings.applied, findings.storage
    if findings.refused is not None:
        yield "ApplyFailed", REFUSED_LOOK
    if storage is not None and storage.refused is not None:
        yield "ResizeRefused", REFUSED_LOOK
    if applied is not None and (applied.passing or applied.replaced):
        yield "ObjectsPassing", PASSING_LOOK
    if applied is not None and applied.wait:
        yield "Contested", applied.wait
    if facts.tls.secret is None:
        due = (renewal_due(facts.tls.pair.certificate) - now).total_seconds()
        yield "CertificateRenewal", max(PASSING_LOOK, min(due, LONGEST_LOOK))


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
