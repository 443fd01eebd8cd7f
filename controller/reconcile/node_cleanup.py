"""Clean the nodes of a mirror that is being deleted, then remove its finalizer.

Each poll reads the whole state again, so that another controller can continue at any point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.agent_protocol import CLEANING_ANNOTATION
from common.defaults import dict_at
from controller import clock
from controller.desired import desired_objects
from controller.desired.services import cleaning_service
from controller.kubeclient.errors import ClusterError, Conflict, Forbidden, Gone, Invalid, NotFound, NotLeader
from controller.model.inputs import MissingInput
from controller.model.mirror import identity_of, parse_mirror
from controller.objects import finalizer
from controller.objects.finalizer import is_terminating
from controller.objects.ownership import Ownership, controller_of, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import DAEMON_SET, MIRROR, SECRET, SERVICE
from controller.objects.rollout import is_unobserved
from controller.reconcile import node_cleanup_progress
from controller.reconcile.collect_inputs import collect_inputs
from controller.status import reasons
from controller.status.events import EventRecord
from controller.status.node_conditions import node_counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from controller.apply.applier import Applier
    from controller.informer.cluster_cache import ClusterCache
    from controller.kubeclient.client import KubeClient
    from controller.model.observation import Agent
    from controller.nodes.agent_client import Agents
    from controller.reconcile.mirror_memory import MirrorMemory
    from controller.reconcile.node_cleanup_progress import CleanupProgress
    from controller.settings import ControllerSettings
    from controller.status.events import Recorder

# Seconds. Agents clean within one or two; each poll is one small request per node.
POLL_INTERVAL: Final = 1.0


@dataclass(frozen=True, slots=True)
class NodeCleanup:
    """Removes mirrors from the nodes. `clock` gives monotonic seconds."""

    cluster: KubeClient
    settings: ControllerSettings
    state: ClusterCache
    applier: Applier
    agents: Agents
    recorder: Recorder
    clock: Callable[[], float]

    async def add_finalizer(self, obj: Json) -> Json:
        """Return the mirror with the finalizer, added if missing. Call it before a node is changed."""
        patch = finalizer.finalizer_patch(obj, present=True)
        if patch is None:
            return obj
        name, mirrors = obj["metadata"]["name"], self.state.mirrors
        with mirrors.writing(name):
            stored = await self.cluster.patch(MIRROR, None, name, patch)
            mirrors.put(stored, quietly=True)
        return stored

    async def poll(self, obj: Json, memory: MirrorMemory) -> str | None:
        """Return a message while nodes must still be cleaned. Otherwise remove the finalizer and return None."""
        if self.is_orphaning(obj):
            kept = "Deleted with --cascade=orphan: the mirror's objects and its configuration on the nodes remain."
            event: EventRecord | None = EventRecord.of(reasons.NODES_KEPT, kept, "Clean")
        else:
            progress = memory.cleanup_of(obj)
            overdue = progress.is_overdue(self.settings.node_cleanup_deadline, self.clock())
            try:
                message = await self._pending(obj, memory)
            except (Conflict, NotLeader):
                raise
            except ClusterError:
                if not overdue:
                    raise
                message = None  # an admission webhook that is down must not block the deletion
            if message is not None and not overdue:
                return message
            event = _final_event(progress, node_cleanup_progress.nodes_before(obj))
        await self._remove_finalizer(obj, event)
        return None

    async def is_withdrawn(self, obj: Json, memory: MirrorMemory) -> bool:
        """Return True if all agents of a mirror that lost its host name have removed it from their nodes.

        After the deadline, record an Event with the remaining nodes and return True.
        """
        progress = memory.cleanup_of(obj)
        overdue = progress.is_overdue(self.settings.node_cleanup_deadline, self.clock())
        if progress.given_up:
            return True
        try:
            agents = await self.agents.ask(await self.agents.every(obj["metadata"]["name"]))
            if self._record(memory, agents, obj, final=True) == (set(), 0):
                return True
        except (Conflict, NotLeader):
            raise
        except ClusterError as error:
            # An admission webhook that is down must not block the rest of the mirror.
            if not overdue and not isinstance(error, Forbidden | Invalid | Gone):
                raise
        progress.given_up = overdue
        if progress.given_up and (event := _final_event(progress, node_cleanup_progress.nodes_before(obj))):
            self.recorder.record(obj, [event])
        return progress.given_up

    def is_orphaning(self, obj: Json) -> bool:
        """Return True if the mirror is deleted with `--cascade=orphan`."""
        mirror = identity_of(obj)
        current = self.state.children[DAEMON_SET].get(mirror.object_name)
        orphaned = current is not None and ownership_of(current, mirror) is Ownership.ORPHANED
        return orphaned or finalizer.ORPHAN in finalizer.finalizers(obj)

    async def _pending(self, obj: Json, memory: MirrorMemory) -> str | None:
        """Poll the agents and return a message about those that must still clean, or None."""
        progress = memory.cleanup_of(obj)
        name, deadline = obj["metadata"]["name"], self.settings.node_cleanup_deadline
        # A policy, a terminating namespace or a missing right must not block the deletion.
        refusal = await self._instruct_agents(obj)
        try:
            agents = await self.agents.every(name)
        except (Forbidden, Invalid, Gone) as error:
            return f"Being deleted. The agents cannot be listed; retrying for up to {deadline:.0f} s. {error}"
        asked = await self.agents.ask(agent for agent in agents if agent.node not in progress.clean)
        waiting, starting = self._record(memory, asked, obj, final=bool(refusal))
        if not waiting and not starting:
            return None
        message = node_cleanup_progress.waiting_message(waiting, starting, deadline)
        return f"{message} The API server refused: {refusal}" if refusal else message

    def _record(self, memory: MirrorMemory, agents: list[Agent], obj: Json, *, final: bool) -> tuple[set[str], int]:
        current = self.state.children[DAEMON_SET].get(identity_of(obj).object_name)
        expected, history = self._expected(obj, final=final), memory.history_of(obj, current)
        idle = {agent.node for agent in agents if agent.idle and agent.node}
        running = {agent.node for agent in agents if agent.node} - idle
        if expected:
            history.observe(idle, max(expected, len(idle)), len(running))
        return memory.cleanup_of(obj).see(agents, expected, history.untouched)

    async def _instruct_agents(self, obj: Json) -> str:
        """Tell the agents to clean and recreate missing ones. Return the API server's refusal, or an empty string."""
        try:
            await self._annotate_service(obj)
            await self._recreate_agents(obj)
        except (Forbidden, Invalid) as error:
            return str(error)
        return ""

    async def _annotate_service(self, obj: Json) -> None:
        """Annotate the mirror's Service, which all agents watch. Recreate the Service if it was deleted."""
        mirror = identity_of(obj)
        store, name = self.state.children[SERVICE], mirror.object_name
        current, body = store.get(name), cleaning_service(mirror, self.settings)
        if current is None:
            # A foreground deletion would delete the new Service too.
            if finalizer.FOREGROUND not in finalizer.finalizers(obj):
                await self.applier.create(SERVICE, body)
            return
        owner = controller_of(current)
        if owner is None or owner["uid"] != mirror.uid or _cleaning_uid(current) == mirror.uid:
            return
        patch = {"metadata": {**preconditions(current), "annotations": body["metadata"]["annotations"]}}
        with store.writing(name):
            store.put(await self.cluster.patch(SERVICE, self.applier.namespace, name, patch), quietly=True)

    async def _recreate_agents(self, obj: Json) -> None:
        """Recreate agents that were deleted before they cleaned their nodes."""
        name = identity_of(obj).object_name
        lost = name not in self.state.children[DAEMON_SET] and node_cleanup_progress.nodes_before(obj)
        if not lost or finalizer.FOREGROUND in finalizer.finalizers(obj):
            return
        mirror = parse_mirror(obj, self.settings.masquerade_domains)
        if isinstance(mirror, list):
            return
        inputs = collect_inputs(mirror, self.settings, self.state, clock.now())
        if isinstance(inputs, MissingInput):
            return
        for kind, body in desired_objects(mirror, self.settings, inputs):
            if kind in (SECRET, DAEMON_SET) and name not in self.state.children[kind]:
                await self.applier.create(kind, body)

    def _expected(self, obj: Json, *, final: bool) -> int:
        """Return the number of nodes that need an agent. `final`: missing agents are not recreated."""
        current = self.state.children[DAEMON_SET].get(identity_of(obj).object_name)
        if current is None and final and finalizer.FOREGROUND not in finalizer.finalizers(obj):
            return 0
        if current is None or is_unobserved(current) or is_terminating(current):
            return node_cleanup_progress.nodes_before(obj)
        return node_counts(current)[0]

    async def _remove_finalizer(self, obj: Json, event: EventRecord | None) -> None:
        patch = finalizer.finalizer_patch(obj, present=False)
        if patch is not None:
            try:
                await self.cluster.patch(MIRROR, None, obj["metadata"]["name"], patch)
            except NotFound:
                return
            self.recorder.record(obj, [event] if event else [])


def _cleaning_uid(service: Json) -> object:
    return dict_at(service, "metadata", "annotations").get(CLEANING_ANNOTATION)


def _final_event(progress: CleanupProgress, before: int) -> EventRecord | None:
    """Return the Event about the cleanup, or None if no node had an agent."""
    unseen = progress.unseen(before)
    if unseen:
        note = (
            f"These nodes are not known to be clean: {unseen}. On each, remove the mirror's marked block from"
            " /etc/hosts and its files from certs.d."
        )
        return EventRecord.of(reasons.NODES_NOT_CLEANED, note, "Clean")
    if not progress.clean:
        return None
    count = len(progress.clean)
    note = f"The mirror was removed from {count} {'node' if count == 1 else 'nodes'}."
    return EventRecord.of(reasons.NODES_CLEANED, note, "Clean")
