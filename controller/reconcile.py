"""One reconcile of one mirror, as a table of contents: read, judge, gather, apply, report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from common import names
from common.defaults import dict_at
from controller import clock, events
from controller.apply import Applied
from controller.cleaning import LOOK
from controller.conditions import stated
from controller.desired import desired_objects, files, without_certificate
from controller.errors import Forbidden, Gone, Invalid, NotFound
from controller.facts import Facts, Lacking
from controller.findings import Findings
from controller.gather import gather
from controller.issued import Issued
from controller.kinds import DAEMON_SET, MIRROR, SERVICE, STATEFUL_SET
from controller.leaving import FINALIZER, finalizers, is_leaving
from controller.looks import SURVEY_LOOK, is_refused, outcome
from controller.mirror import identity_of, judge
from controller.node_conditions import are_pending
from controller.outcomes import Done, Outcome, Stalled, Waiting
from controller.report import status_of, status_of_failing, status_of_invalid, status_of_leaving, status_patch
from controller.standing import Standing, standing
from controller.storage import Parting

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from controller.agents import Agents
    from controller.apply import Applier
    from controller.cleaning import Cleaner
    from controller.cluster import Cluster
    from controller.events import Recorder
    from controller.failing import Failure
    from controller.kinds import Kind
    from controller.mirror import Mirror
    from controller.probing.prober import Prober
    from controller.settings import ControllerSettings
    from controller.state import State
    from controller.stopwatches import Stopwatches
    from controller.storage import Storage

Json = dict[str, Any]

# Seconds for each mirror there is; with many, of which one dead node keeps each from being ready, agents are asked so
# seldom that listing their pods stays at ten requests a second.
SURVEY_SPREAD: Final = 0.1
# A message names three; so many tell whether they agree.
AGENTS_ASKED: Final = 20


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings mirrors to what their spec says."""

    cluster: Cluster
    settings: ControllerSettings
    state: State
    applier: Applier
    storage: Storage
    recorder: Recorder
    agents: Agents
    cleaner: Cleaner
    prober: Prober
    stopwatches: Stopwatches
    issued: Issued = field(default_factory=Issued)

    async def reconcile(self, name: str) -> Outcome:
        """One pass over the mirror of that name. Raises ClusterError where a request failed: try again later."""
        raw = self.state.mirrors.get(name)
        if raw is None:
            self._forget(name)
            return Done()
        if is_leaving(raw):
            return await self._part(raw)
        mirror = judge(raw, self.settings.masquerade_domains)
        now = clock.now()
        if isinstance(mirror, list):
            self.prober.forget(name)
            await self._publish(raw, status_of_invalid(raw, mirror, _stamp(now)))
            return Stalled("InvalidSpec", "; ".join(map(str, mirror)))
        facts = gather(mirror, self.settings, self.state, now, partial(self._held, name))
        facts = self._steady(mirror, facts)
        self.prober.follow(mirror, facts)  # asked while the objects are applied
        raw = await self.cleaner.hold(raw)
        if not isinstance(facts, Facts) or not facts.withdrawing:
            self.cleaner.forget(name)
        elif await self.cleaner.is_off(raw):
            facts = replace(facts, withdrawing=False)
        findings = await self._surveyed(mirror, await self._act(raw, mirror, facts))
        findings = replace(findings, verdict=self.prober.follow(mirror, facts))
        await self._publish(raw, status_of(raw, mirror, findings, self.settings.namespace, _stamp(now)))
        refused = self._held(f"{name} refused", is_refused(findings) or None)
        return outcome(findings, self._next_survey(findings), refused)

    async def tell(self, name: str, failure: Failure) -> None:
        """Lets a mirror's status say that its reconcile fails. Raises ClusterError."""
        if (raw := self.state.mirrors.get(name)) is not None:
            await self._publish(raw, status_of_failing(raw, failure, _stamp(clock.now())))

    def _steady(self, mirror: Mirror, facts: Facts | Lacking) -> Facts | Lacking:
        certificate, key = (self.state.secret_text(mirror.object_name, each) for each in (files.CERTIFICATE, files.KEY))
        now = self.applier.clock()
        return self.issued.steady(mirror, facts, (certificate, key), now) if isinstance(facts, Facts) else facts

    async def _part(self, raw: Json) -> Outcome:
        """A mirror that is being deleted: its nodes are cleaned, and it goes. What was made for it is left alone."""
        if FINALIZER not in finalizers(raw):
            self._forget(raw["metadata"]["name"])
            return Done()
        self.prober.forget(raw["metadata"]["name"])
        parting = Parting() if self.cleaner.is_orphaning(raw) else await self.storage.part(identity_of(raw))
        waiting = "Being deleted; its claims are to go with it." if parting.waiting else await self.cleaner.look(raw)
        if waiting is None:
            self.recorder.record(raw, events.left_behind(parting.refused))
            return Done()
        await self._publish(raw, status_of_leaving(raw, waiting, _stamp(clock.now())))
        return Waiting(LOOK, "Cleaning")

    async def _act(self, raw: Json, mirror: Mirror, facts: Facts | Lacking) -> Findings:
        applied = Applied()
        try:
            return self._observed(mirror, await self._applied(mirror, facts, applied))
        except (Forbidden, Invalid) as error:
            return self._observed(mirror, Findings(facts, applied, refused=str(error)))
        finally:
            # Told even where a later request failed: the next pass finds it done and has nothing to tell.
            seen = dict_at(raw, "status").get("observedGeneration")
            changed = seen != raw["metadata"].get("generation")
            self.recorder.record(raw, events.deeds(applied, first=seen is None, changed=changed))

    async def _applied(self, mirror: Mirror, facts: Facts | Lacking, applied: Applied) -> Findings:
        if isinstance(facts, Lacking):
            if facts.rest is not None and mirror.object_name in self.state.secrets:  # a mirror that was whole once
                await self.applier.keep(mirror, without_certificate(mirror, self.settings, facts.rest), applied)
            return Findings(facts, applied, refused=_refusals(applied))
        storage = await self.storage.settle(mirror)
        objects = desired_objects(mirror, self.settings, facts)
        if storage.replacing:
            others = [(kind, body) for kind, body in objects if kind is not STATEFUL_SET]
            await self.applier.keep(mirror, others, applied)
        else:
            await self.applier.apply(mirror, objects, applied)
        return Findings(facts, applied, storage, refused=_refusals(applied))

    async def _surveyed(self, mirror: Mirror, findings: Findings) -> Findings:
        """The findings, with what the agents say that keep their nodes from being ready."""
        if self.settings.hostess_is_original or not are_pending(findings):
            return findings
        with suppress(Forbidden, Gone):  # the status tells without them as well
            return replace(findings, agents=tuple(await self.agents.unready(mirror.name, AGENTS_ASKED)))
        return findings

    def _next_survey(self, findings: Findings) -> float | None:
        """Seconds until agents are to be asked again; what they say changes without an event."""
        if self.settings.hostess_is_original or not are_pending(findings):
            return None
        return max(SURVEY_LOOK, SURVEY_SPREAD * len(self.state.mirrors))

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
        patch = status_patch(dict_at(raw, "status"), status)
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

    def _held(self, key: str, what: Hashable) -> float:
        """Seconds for which something about a mirror has been so: under its name what its certificates wait for."""
        return self.stopwatches.held(key, what, clock.running())

    def _forget(self, name: str) -> None:
        self.prober.forget(name)
        self.cleaner.forget(name)
        self.storage.forget(name)
        self.stopwatches.forget(name)
        self.stopwatches.forget(f"{name} refused")
        self.issued.forget(name)
        for child in (names.object_name(name), names.headless_name(name)):
            for kind in self.state.children:
                self.applier.forget(f"{kind.name} {child}")


def _refusals(applied: Applied) -> str | None:
    """What was refused, in the API server's words."""
    return "; ".join(applied.refused.values()) or None


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
