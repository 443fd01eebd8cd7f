"""Has the nodes cleaned of a mirror that is being deleted, and then lets the mirror go.

Everything is read anew at each look, so that a controller that starts in the midst goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common.agent_protocol import CLEANING_ANNOTATION
from common.defaults import dict_at
from controller import clock
from controller.desired import desired_objects
from controller.desired.services import service
from controller.kubeclient.errors import ClusterError, Conflict, Forbidden, Gone, Invalid, NotFound, NotLeader
from controller.model.inputs import MissingInput
from controller.model.mirror import identity_of, parse_mirror
from controller.objects import finalizer
from controller.objects.finalizer import is_terminating
from controller.objects.ownership import Ownership, controller_of, ownership_of
from controller.objects.preconditions import preconditions
from controller.objects.resources import DAEMON_SET, MIRROR, SECRET, SERVICE
from controller.objects.rollout import is_behind
from controller.reconcile import node_cleanup_progress
from controller.reconcile.collect_inputs import collect_inputs
from controller.reconcile.node_cleanup_progress import CleanupProgress
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
    from controller.settings import ControllerSettings
    from controller.status.events import Recorder


# Seconds between two looks: agents clean within one or two, and asking costs as many small answers as there are nodes.
POLL_INTERVAL: Final = 1.0


@dataclass(frozen=True, slots=True)
class NodeCleanup:
    """Takes mirrors off the nodes. `clock` gives seconds that never go backwards."""

    cluster: KubeClient
    settings: ControllerSettings
    state: ClusterCache
    applier: Applier
    agents: Agents
    recorder: Recorder
    clock: Callable[[], float]
    _progress: dict[str, tuple[tuple[str, bool], CleanupProgress]] = field(default_factory=dict)

    async def hold(self, obj: Json) -> Json:
        """The mirror with our finalizer, so that it stays until its nodes are clean. Before any node is touched."""
        patch = None if self.settings.hostess_is_original else finalizer.finalizer_patch(obj, held=True)
        if patch is None:
            return obj
        name, mirrors = obj["metadata"]["name"], self.state.mirrors
        with mirrors.writing(name):
            held = await self.cluster.patch(MIRROR, None, name, patch)
            mirrors.put(held, quietly=True)
        return held

    async def look(self, obj: Json) -> str | None:
        """Sees to it that the nodes are cleaned. Returns what is waited for, or None once the mirror was let go."""
        if self.settings.hostess_is_original:  # it knows nothing of cleaning
            ending = None
        elif self.is_orphaning(obj):
            kept = "What was made for the mirror is left behind (orphan), and so are the nodes as they are."
            ending = EventRecord("Normal", "NodesKept", kept, "Clean")
        else:
            progress = self._progress_of(obj)
            overdue = progress.is_overdue(self.settings.node_cleanup_deadline, self.clock())
            try:
                waiting = await self._waited_for(obj, progress)
            except (Conflict, NotLeader):
                raise
            except ClusterError:
                if not overdue:
                    raise
                waiting = None  # somebody's admission webhook that is away, say, must not hold the mirror for ever
            if waiting is not None and not overdue:
                return waiting
            ending = _ending(progress, node_cleanup_progress.nodes_before(obj))
        await self._let_go(obj, ending)
        return None

    async def is_off(self, obj: Json) -> bool:
        """Whether the agents of a mirror that has lost its host name to another have taken it off their nodes.

        At the deadline, counted from the first question, it counts as being off, with an Event that names the nodes.
        """
        progress = self._progress_of(obj)
        overdue = progress.is_overdue(self.settings.node_cleanup_deadline, self.clock())
        if progress.given_up:
            return True
        try:
            agents = await self.agents.ask(await self.agents.every(obj["metadata"]["name"]))
            if self._seen(progress, agents, obj, lost=True) == (set(), 0):
                return True
        except (Conflict, NotLeader):
            raise
        except ClusterError as error:
            # Somebody's admission webhook that is away, say, must not keep the rest of the mirror waiting for ever.
            if not overdue and not isinstance(error, Forbidden | Invalid | Gone):
                raise
        progress.given_up = overdue
        if progress.given_up and (ending := _ending(progress, node_cleanup_progress.nodes_before(obj))):
            self.recorder.record(obj, [ending])
        return progress.given_up

    def is_orphaning(self, obj: Json) -> bool:
        """Whether what was made for the mirror is to stay, or has been set free already."""
        mirror = identity_of(obj)
        current = self.state.children[DAEMON_SET].get(mirror.object_name)
        freed = current is not None and ownership_of(current, mirror) is Ownership.ORPHANED
        return freed or finalizer.ORPHAN in finalizer.finalizers(obj)

    def forget(self, name: str) -> None:
        """Drops what is remembered of a mirror that is gone, or is not to be taken off its nodes."""
        self._progress.pop(name, None)

    def _progress_of(self, obj: Json) -> CleanupProgress:
        # To be deleted is another reason than to have lost a host name, and gives the nodes their time anew.
        name, why = obj["metadata"]["name"], (obj["metadata"]["uid"], is_terminating(obj))
        if name not in self._progress or self._progress[name][0] != why:
            self._progress[name] = why, CleanupProgress()
        return self._progress[name][1]

    async def _waited_for(self, obj: Json, progress: CleanupProgress) -> str | None:
        """Asks the agents. Returns a sentence about those that are waited for; None where there are none."""
        name, deadline = obj["metadata"]["name"], self.settings.node_cleanup_deadline
        # A policy, a namespace that is going too, a role that lacks a right: none must hold the mirror for ever.
        refused = await self._told(obj)
        try:
            agents = await self.agents.every(name)
        except (Forbidden, Invalid, Gone) as error:
            return f"Being deleted; the agents cannot be found, {deadline:.0f} s at most: {error}"
        asked = await self.agents.ask(agent for agent in agents if agent.node not in progress.clean)
        waiting, starting = self._seen(progress, asked, obj, lost=bool(refused))
        if not waiting and not starting:
            return None
        sentence = node_cleanup_progress.waiting_sentence(waiting, starting, deadline)
        return f"{sentence} The API server refused: {refused}" if refused else sentence

    def _seen(self, progress: CleanupProgress, agents: list[Agent], obj: Json, *, lost: bool) -> tuple[set[str], int]:
        current = self.state.children[DAEMON_SET].get(identity_of(obj).object_name)
        untouched = node_cleanup_progress.is_untouched(obj, current)
        return progress.see(agents, self._expected(obj, lost=lost), untouched=untouched)

    async def _told(self, obj: Json) -> str:
        """Tells the agents what to do, those that were deleted too early made again. Returns what was refused."""
        try:
            await self._announce(obj)
            await self._keep_agents(obj)
        except (Forbidden, Invalid) as error:
            return str(error)
        return ""

    async def _announce(self, obj: Json) -> None:
        """Tells the agents by the mirror's Service, which all of them watch; makes it again where it was deleted."""
        mirror = identity_of(obj)
        store, name = self.state.children[SERVICE], mirror.object_name
        current, body = store.get(name), service(mirror, self.settings, cleaning=True)
        if current is None:
            if finalizer.FOREGROUND not in finalizer.finalizers(
                obj
            ):  # as long as that is there it would be deleted again
                await self.applier.create(SERVICE, body)
            return
        owner = controller_of(current)
        if owner is None or owner["uid"] != mirror.uid or _announced(current) == mirror.uid:
            return
        patch = {"metadata": {**preconditions(current), "annotations": body["metadata"]["annotations"]}}
        with store.writing(name):
            store.put(await self.cluster.patch(SERVICE, self.applier.namespace, name, patch), quietly=True)

    async def _keep_agents(self, obj: Json) -> None:
        """Makes the agents again where they were deleted before they had cleaned, as a foreground deletion does."""
        name = identity_of(obj).object_name
        gone = name not in self.state.children[DAEMON_SET] and node_cleanup_progress.nodes_before(obj)
        if not gone or finalizer.FOREGROUND in finalizer.finalizers(obj):
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

    def _expected(self, obj: Json, *, lost: bool) -> int:
        """Nodes that are to have an agent: those of before where they are made again, or not counted anew yet.

        `lost`: agents that are not there will not be made again.
        """
        current = self.state.children[DAEMON_SET].get(identity_of(obj).object_name)
        if current is None:
            return (
                0
                if lost and finalizer.FOREGROUND not in finalizer.finalizers(obj)
                else node_cleanup_progress.nodes_before(obj)
            )
        return (
            node_cleanup_progress.nodes_before(obj)
            if is_behind(current) or is_terminating(current)
            else node_counts(current)[0]
        )

    async def _let_go(self, obj: Json, ending: EventRecord | None) -> None:
        patch = finalizer.finalizer_patch(obj, held=False)
        if patch is not None:
            try:
                await self.cluster.patch(MIRROR, None, obj["metadata"]["name"], patch)
            except NotFound:
                return
            self.recorder.record(obj, [ending] if ending else [])


def _announced(service: Json) -> object:
    return dict_at(service, "metadata", "annotations").get(CLEANING_ANNOTATION)


def _ending(progress: CleanupProgress, before: int) -> EventRecord | None:
    """The Event at the end, for whoever has to look after a node; none where no node had an agent."""
    unseen = progress.unseen(before)
    if unseen:
        note = (
            f"Could not see these nodes clean of the mirror: {unseen}. Where one comes back, its /etc/hosts and"
            " certs.d may hold what the mirror's agent wrote there, between its marks."
        )
        return EventRecord("Warning", "NodesNotCleaned", note, "Clean")
    if not progress.clean:
        return None
    count = len(progress.clean)
    note = f"The mirror was taken off {'its node' if count == 1 else f'all of its {count} nodes'}."
    return EventRecord("Normal", "NodesCleaned", note, "Clean")
