"""One reconcile of one mirror, as a table of contents: read, judge, gather, apply, report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller import clock
from controller.certificates.reissue_limiter import Issued
from controller.desired import desired_objects, without_certificate
from controller.kubeclient.errors import Forbidden, Gone, Invalid, NotFound
from controller.model.condition import existing_conditions
from controller.model.inputs import Inputs, MissingInput
from controller.model.mirror import identity_of, parse_mirror
from controller.model.observation import Observation
from controller.model.results import ApplyResult, DeletionResult, Done, Outcome, RequeueAfter, Stalled
from controller.objects import well_known
from controller.objects.finalizer import FINALIZER, finalizers, is_terminating
from controller.objects.ownership import Ownership, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import DAEMON_SET, MIRROR, SERVICE, STATEFUL_SET
from controller.reconcile.collect_inputs import collect_inputs
from controller.reconcile.node_cleanup import POLL_INTERVAL
from controller.reconcile.requeue import SURVEY_INTERVAL, is_refused, outcome
from controller.status import events
from controller.status.node_conditions import are_pending
from controller.status.status import status_of, status_of_failing, status_of_invalid, status_of_leaving, status_patch

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from common.types import Json
    from controller.apply.applier import Applier
    from controller.duration_tracker import DurationTracker
    from controller.informer.cluster_cache import ClusterCache
    from controller.kubeclient.client import KubeClient
    from controller.model.mirror import Mirror
    from controller.nodes.agent_client import Agents
    from controller.objects.resources import Kind
    from controller.reconcile.node_cleanup import NodeCleanup
    from controller.settings import ControllerSettings
    from controller.status.events import Recorder
    from controller.status.failures import Failure
    from controller.storage.resizer import Storage
    from controller.upstream.prober import Prober


# Seconds for each mirror there is; with many, of which one dead node keeps each from being ready, agents are asked so
# seldom that listing their pods stays at ten requests a second.
SURVEY_SPREAD: Final = 0.1
# A message names three; so many tell whether they agree.
AGENTS_ASKED: Final = 20


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings mirrors to what their spec says."""

    cluster: KubeClient
    settings: ControllerSettings
    state: ClusterCache
    applier: Applier
    storage: Storage
    recorder: Recorder
    agents: Agents
    cleaner: NodeCleanup
    prober: Prober
    durations: DurationTracker
    issued: Issued = field(default_factory=Issued)

    async def reconcile(self, name: str) -> Outcome:
        """One pass over the mirror of that name. Raises ClusterError where a request failed: try again later."""
        obj = self.state.mirrors.get(name)
        if obj is None:
            self._forget(name)
            return Done()
        if is_terminating(obj):
            return await self._part(obj)
        mirror = parse_mirror(obj, self.settings.masquerade_domains)
        now = clock.now()
        if isinstance(mirror, list):
            self.prober.forget(name)
            await self._publish(obj, status_of_invalid(obj, mirror, _stamp(now)))
            return Stalled("InvalidSpec", "; ".join(map(str, mirror)))
        inputs = collect_inputs(mirror, self.settings, self.state, now, partial(self._held, name))
        inputs = self._steady(mirror, inputs)
        self.prober.follow(mirror, inputs)  # asked while the objects are applied
        obj = await self.cleaner.hold(obj)
        if not isinstance(inputs, Inputs) or not inputs.withdrawing:
            self.cleaner.forget(name)
        elif await self.cleaner.is_off(obj):
            inputs = replace(inputs, withdrawing=False)
        observation = await self._surveyed(mirror, await self._act(obj, mirror, inputs))
        observation = replace(observation, verdict=self.prober.follow(mirror, inputs))
        await self._publish(obj, status_of(obj, mirror, observation, self.settings.namespace, _stamp(now)))
        refused = self._held(f"{name} refused", is_refused(observation) or None)
        return outcome(observation, self._next_survey(observation), refused)

    async def tell(self, name: str, failure: Failure) -> None:
        """Lets a mirror's status say that its reconcile fails. Raises ClusterError."""
        if (obj := self.state.mirrors.get(name)) is not None:
            await self._publish(obj, status_of_failing(obj, failure, _stamp(clock.now())))

    def _steady(self, mirror: Mirror, inputs: Inputs | MissingInput) -> Inputs | MissingInput:
        certificate, key = (
            self.state.secret_text(mirror.object_name, each) for each in (well_known.CERTIFICATE, well_known.KEY)
        )
        now = self.applier.clock()
        return (
            self.issued.reuse_recent_certificate(mirror, inputs, (certificate, key), now)
            if isinstance(inputs, Inputs)
            else inputs
        )

    async def _part(self, obj: Json) -> Outcome:
        """A mirror that is being deleted: its nodes are cleaned, and it goes. What was made for it is left alone."""
        if FINALIZER not in finalizers(obj):
            self._forget(obj["metadata"]["name"])
            return Done()
        self.prober.forget(obj["metadata"]["name"])
        parting = DeletionResult() if self.cleaner.is_orphaning(obj) else await self.storage.part(identity_of(obj))
        waiting = "Being deleted; its claims are to go with it." if parting.waiting else await self.cleaner.look(obj)
        if waiting is None:
            self.recorder.record(obj, events.left_behind(parting.refused))
            return Done()
        await self._publish(obj, status_of_leaving(obj, waiting, _stamp(clock.now())))
        return RequeueAfter(POLL_INTERVAL, "Cleaning")

    async def _act(self, obj: Json, mirror: Mirror, inputs: Inputs | MissingInput) -> Observation:
        applied = ApplyResult()
        try:
            return self._observed(mirror, await self._applied(mirror, inputs, applied))
        except (Forbidden, Invalid) as error:
            return self._observed(mirror, Observation(inputs, applied, refused=str(error)))
        finally:
            # Told even where a later request failed: the next pass finds it done and has nothing to tell.
            seen = dict_at(obj, "status").get("observedGeneration")
            changed = seen != obj["metadata"].get("generation")
            self.recorder.record(obj, events.events_for(applied, first=seen is None, changed=changed))

    async def _applied(self, mirror: Mirror, inputs: Inputs | MissingInput, applied: ApplyResult) -> Observation:
        if isinstance(inputs, MissingInput):
            if inputs.rest is not None and mirror.object_name in self.state.secrets:  # a mirror that was whole once
                await self.applier.keep(mirror, without_certificate(mirror, self.settings, inputs.rest), applied)
            return Observation(inputs, applied, refused=_refusals(applied))
        storage = await self.storage.settle(mirror)
        objects = desired_objects(mirror, self.settings, inputs)
        if storage.replacing:
            others = [(kind, body) for kind, body in objects if kind is not STATEFUL_SET]
            await self.applier.keep(mirror, others, applied)
        else:
            await self.applier.apply(mirror, objects, applied)
        return Observation(inputs, applied, storage, refused=_refusals(applied))

    async def _surveyed(self, mirror: Mirror, observation: Observation) -> Observation:
        """The findings, with what the agents say that keep their nodes from being ready."""
        if self.settings.hostess_is_original or not are_pending(observation):
            return observation
        with suppress(Forbidden, Gone):  # the status tells without them as well
            return replace(observation, agents=tuple(await self.agents.unready(mirror.name, AGENTS_ASKED)))
        return observation

    def _next_survey(self, observation: Observation) -> float | None:
        """Seconds until agents are to be asked again; what they say changes without an event."""
        if self.settings.hostess_is_original or not are_pending(observation):
            return None
        return max(SURVEY_INTERVAL, SURVEY_SPREAD * len(self.state.mirrors))

    def _observed(self, mirror: Mirror, found: Observation) -> Observation:
        return Observation(
            inputs=found.inputs,
            applied=found.applied,
            storage=found.storage,
            service=self._seen(SERVICE, mirror),
            stateful_set=self._seen(STATEFUL_SET, mirror),
            daemon_set=self._seen(DAEMON_SET, mirror),
            refused=found.refused,
        )

    def _seen(self, kind: Kind, mirror: Mirror) -> Json | None:
        """The object of that kind; a foreign one says nothing about the mirror."""
        current = self.state.children[kind].get(mirror.object_name)
        return None if current is None or ownership_of(current, mirror) is Ownership.NOT_OWNED else current

    async def _publish(self, obj: Json, status: Json) -> None:
        patch = status_patch(dict_at(obj, "status"), status)
        if patch is None:
            return
        body = {"metadata": preconditions(obj), "status": patch}
        name, mirrors = obj["metadata"]["name"], self.state.mirrors
        try:
            with mirrors.writing(name):
                mirrors.put(await self.cluster.patch(MIRROR, None, name, body, subresource="status"), quietly=True)
        except NotFound:
            return  # deleted meanwhile: there is nobody left to tell
        self.recorder.record(obj, events.transitions(existing_conditions(obj), status["conditions"]))

    def _held(self, key: str, what: Hashable) -> float:
        """Seconds for which something about a mirror has been so: under its name what its certificates wait for."""
        return self.durations.held(key, what, clock.running())

    def _forget(self, name: str) -> None:
        self.prober.forget(name)
        self.cleaner.forget(name)
        self.storage.forget(name)
        self.durations.forget(name)
        self.durations.forget(f"{name} refused")
        self.issued.forget(name)
        for child in (names.object_name(name), names.headless_name(name)):
            for kind in self.state.children:
                self.applier.forget(f"{kind.name} {child}")


def _refusals(applied: ApplyResult) -> str | None:
    """What was refused, in the API server's words."""
    return "; ".join(applied.refused.values()) or None


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
