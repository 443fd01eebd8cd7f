"""Reconcile one mirror: read, parse, collect inputs, apply, publish the status."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from common.defaults import dict_at
from common.status import UNOBSERVED
from controller import clock
from controller.certificates.reissue_limiter import limit_reissue
from controller.desired import desired_objects, without_certificate
from controller.kubeclient.errors import Forbidden, Gone, Invalid, NotFound
from controller.model.inputs import Inputs, MissingInput
from controller.model.mirror import identity_of, parse_mirror
from controller.model.observation import Observation
from controller.model.results import ApplyResult, Done, Outcome, RequeueAfter, Stalled
from controller.objects import well_known
from controller.objects.finalizer import FINALIZER, finalizers, is_terminating
from controller.objects.ownership import Ownership, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import DAEMON_SET, MIRROR, SERVICE, STATEFUL_SET
from controller.reconcile.collect_inputs import collect_inputs
from controller.reconcile.mirror_memory import MirrorMemory
from controller.reconcile.node_cleanup import POLL_INTERVAL
from controller.reconcile.requeue import SURVEY_INTERVAL, is_refused, outcome
from controller.status import events, reasons
from controller.status.conditions import is_serving, lacks_caches, was_available
from controller.status.node_conditions import are_counted, are_pending, are_silent, lack_dialers, node_counts
from controller.status.status import (
    status_of,
    status_of_failing,
    status_of_invalid,
    status_of_terminating,
    status_patch,
)

if TYPE_CHECKING:
    from datetime import datetime

    from common.field_errors import FieldError
    from common.types import Json
    from controller.apply.applier import Applier, MirrorApplier
    from controller.caches.cache_poller import CachePoller
    from controller.faults.fault_finder import FaultFinder
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


# Seconds per mirror. With many mirrors, agents are asked less often: at most ten pod lists a second.
SURVEY_SPREAD: Final = 0.1
# Agents to ask; a message names three, and this many show if they agree.
AGENTS_ASKED: Final = 20


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Reconciles mirrors with the cluster."""

    cluster: KubeClient
    settings: ControllerSettings
    state: ClusterCache
    applier: Applier
    storage: Storage
    recorder: Recorder
    agents: Agents
    node_cleanup: NodeCleanup
    caches: CachePoller
    faults: FaultFinder
    memories: defaultdict[str, MirrorMemory] = field(default_factory=lambda: defaultdict(MirrorMemory))

    async def reconcile(self, name: str) -> Outcome:
        """Reconcile the mirror `name`. Raise ClusterError if a request fails."""
        obj = self.state.mirrors.get(name)
        if obj is None:
            return self._forget(name)
        if is_terminating(obj):
            return await self._finalize(obj)
        mirror, now = parse_mirror(obj, self.settings.masquerade_domains), clock.now()
        if isinstance(mirror, list):
            return await self._reject(obj, mirror, now)
        memory = self.memories[name]
        inputs = self._collect(mirror, memory, now)
        obj = await self.node_cleanup.add_finalizer(obj)
        inputs = await self._withdraw(obj, inputs, memory)
        observation = await self._apply(obj, mirror, inputs, memory)
        observation = await self._with_agents(obj, mirror, observation, memory)
        observation = await self._with_faults(obj, mirror, observation, memory)
        observation = replace(
            observation,
            verdicts=self.caches.verdicts(mirror),
            pulling=self.caches.pulling(name),
            volume_problem=self.caches.volume_problem(name),
        )
        await self._publish(obj, status_of(obj, mirror, observation, self.settings.namespace, _stamp(now)))
        refused_for = memory.durations.held_for("refused", is_refused(observation) or None, clock.monotonic())
        searches = (each.next_search(clock.monotonic()) for each in (memory.caches, memory.agents, memory.dialers))
        search = min((each for each in searches if each is not None), default=None)
        return outcome(observation, self._next_survey(observation), refused_for, search)

    async def report_failure(self, name: str, failure: Failure) -> None:
        """Publish in the status that the reconcile fails. Raise ClusterError."""
        if (obj := self.state.mirrors.get(name)) is not None:
            await self._publish(obj, status_of_failing(obj, failure, _stamp(clock.now())))

    async def _reject(self, obj: Json, problems: list[FieldError], now: datetime) -> Outcome:
        await self._publish(obj, status_of_invalid(obj, problems, _stamp(now)))
        return Stalled(reasons.SPEC_INVALID.name, "; ".join(map(str, problems)))

    def _collect(self, mirror: Mirror, memory: MirrorMemory, now: datetime) -> Inputs | MissingInput:
        held_for = partial(memory.durations.held_for, "certificate", now=clock.monotonic())
        inputs = collect_inputs(mirror, self.settings, self.state, now, held_for)
        if isinstance(inputs, MissingInput):
            return inputs
        secret = mirror.object_name
        certificate, key = (self.state.secret_text(secret, each) for each in (well_known.CERTIFICATE, well_known.KEY))
        inputs, memory.issued = limit_reissue(memory.issued, mirror, inputs, (certificate, key), clock.monotonic())
        return inputs

    async def _withdraw(self, obj: Json, inputs: Inputs | MissingInput, memory: MirrorMemory) -> Inputs | MissingInput:
        """Keep the agents of a mirror that lost its host name until they have cleaned their nodes."""
        if isinstance(inputs, MissingInput) or not inputs.withdrawing:
            memory.cleanup = None
        elif await self.node_cleanup.is_withdrawn(obj, memory):
            return replace(inputs, withdrawing=False)
        return inputs

    async def _finalize(self, obj: Json) -> Outcome:
        """Clean the nodes of a mirror that is being deleted. Kubernetes deletes the objects of the mirror."""
        name = obj["metadata"]["name"]
        if FINALIZER not in finalizers(obj):
            return self._forget(name)
        orphaning = self.node_cleanup.is_orphaning(obj)
        memory = self.memories[name]
        refused = [] if orphaning else await self.storage.delete_orphaned_pods(identity_of(obj), memory.storage)
        message = await self.node_cleanup.poll(obj, memory)
        if message is None:
            self.recorder.record(obj, events.incomplete_cleanup(refused))
            return Done()
        await self._publish(obj, status_of_terminating(obj, message, _stamp(clock.now())))
        return RequeueAfter(POLL_INTERVAL, reasons.NODES_CLEANING.name)

    async def _apply(
        self, obj: Json, mirror: Mirror, inputs: Inputs | MissingInput, memory: MirrorMemory
    ) -> Observation:
        applied = ApplyResult()
        applier = self.applier.to(mirror, memory.objects, applied)
        try:
            return self._observe(mirror, await self._apply_objects(applier, inputs, memory))
        except (Forbidden, Invalid) as error:
            return self._observe(mirror, Observation(inputs, applied, refused=str(error)))
        finally:
            # Also after an error: the next reconcile finds these changes done and would not report them.
            seen = dict_at(obj, "status").get("observedGeneration", UNOBSERVED)
            changed = seen != obj["metadata"].get("generation")
            self.recorder.record(obj, events.events_for(applied, first=seen == UNOBSERVED, changed=changed))

    async def _apply_objects(
        self, applier: MirrorApplier, inputs: Inputs | MissingInput, memory: MirrorMemory
    ) -> Observation:
        mirror, applied = applier.mirror, applier.applied
        if isinstance(inputs, MissingInput):
            if inputs.rest is not None and mirror.object_name in self.state.secrets:  # was complete before
                await applier.apply_part(without_certificate(mirror, self.settings, inputs.rest))
            return Observation(inputs, applied, refused=_refusals(applied))
        storage = await self.storage.settle(mirror, memory.storage)
        objects = desired_objects(mirror, self.settings, inputs)
        if storage.replacing:
            await applier.apply_part([(kind, body) for kind, body in objects if kind is not STATEFUL_SET])
        else:
            await applier.apply(objects)
        return Observation(inputs, applied, storage, refused=_refusals(applied))

    async def _with_agents(
        self, obj: Json, mirror: Mirror, observation: Observation, memory: MirrorMemory
    ) -> Observation:
        """Add the agents that cannot be scheduled, and the answers of others whose nodes are not ready."""
        if not are_counted(observation):
            return observation
        with suppress(Forbidden, Gone):  # the status is useful without them
            if are_pending(observation):
                unschedulable = tuple(await self.agents.unschedulable(mirror.name))
                observation = replace(observation, unschedulable=unschedulable)
            if are_pending(observation):
                answers = await self.agents.unready(mirror.name, AGENTS_ASKED)
                observation = replace(observation, agents=tuple(answers))
            history = memory.history_of(obj, observation.daemon_set)
            desired, ready = node_counts(observation.daemon_set)
            running = ready + sum(not agent.idle for agent in observation.agents)
            history.observe({agent.node for agent in observation.unschedulable}, desired, running)
            return replace(observation, lost=frozenset(history.lost))
        return observation

    async def _with_faults(
        self, obj: Json, mirror: Mirror, observation: Observation, memory: MirrorMemory
    ) -> Observation:
        """Add the faults of pods: after some seconds, or at once after the cache stopped."""
        stateful_set, daemon_set, now = observation.stateful_set, observation.daemon_set, clock.monotonic()
        stopped = was_available(obj) and not is_serving(obj, observation)
        lacking = lacks_caches(mirror, observation)
        if memory.caches.is_due(lacking=lacking, at_once=stopped, now=now) and stateful_set is not None:
            memory.caches.note(await self.faults.of_caches(mirror.name, stateful_set), now)
        lacking = are_silent(observation)
        if memory.agents.is_due(lacking=lacking, at_once=False, now=now) and daemon_set is not None:
            memory.agents.note(await self.faults.of_agents(mirror.name, daemon_set), now)
        if memory.dialers.is_due(lacking=lack_dialers(observation), at_once=False, now=now):
            memory.dialers.note(await self.faults.of_dialers(), now)
        return replace(
            observation,
            cache_fault=memory.caches.fault,
            agent_fault=memory.agents.fault,
            dialer_fault=memory.dialers.fault,
        )

    def _next_survey(self, observation: Observation) -> float | None:
        """Return the seconds until agents must be asked again. Their answers change without an event."""
        if not are_pending(observation) and not observation.unschedulable:
            return None
        return max(SURVEY_INTERVAL, SURVEY_SPREAD * len(self.state.mirrors))

    def _observe(self, mirror: Mirror, observation: Observation) -> Observation:
        """Add the objects of the mirror as they are now."""
        return replace(
            observation,
            service=self._own(SERVICE, mirror),
            stateful_set=self._own(STATEFUL_SET, mirror),
            daemon_set=self._own(DAEMON_SET, mirror),
        )

    def _own(self, kind: Kind, mirror: Mirror) -> Json | None:
        current = self.state.children[kind].get(mirror.object_name)
        return None if current is None or ownership_of(current, mirror) is Ownership.NOT_OWNED else current

    async def _publish(self, obj: Json, status: Json) -> None:
        """Write the status and record its transitions, if it changed."""
        patch = status_patch(dict_at(obj, "status"), status)
        if patch is None:
            return
        body = {"metadata": preconditions(obj), "status": patch}
        name, mirrors = obj["metadata"]["name"], self.state.mirrors
        try:
            with mirrors.writing(name):
                mirrors.put(await self.cluster.patch(MIRROR, None, name, body, subresource="status"), quietly=True)
        except NotFound:
            return  # deleted in the meantime
        self.recorder.record(obj, events.transitions(obj, status))

    def _forget(self, name: str) -> Done:
        self.memories.pop(name, None)
        return Done()


def _refusals(applied: ApplyResult) -> str | None:
    return "; ".join(applied.refused.values()) or None


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
