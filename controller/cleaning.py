"""Has the nodes cleaned of a mirror that is being deleted, and then lets the mirror go.

Everything is read anew at each look, so that a controller that starts in the midst goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from common.agent import CLEANING_ANNOTATION
from common.defaults import dict_at
from controller import clock, leaving
from controller.desired import desired_objects
from controller.desired.services import service
from controller.errors import ClusterError, Conflict, Fenced, Forbidden, Gone, Invalid, NotFound
from controller.events import Occurrence
from controller.facts import Lacking
from controller.gather import gather
from controller.kinds import DAEMON_SET, MIRROR, SECRET, SERVICE
from controller.leaving import Progress, is_leaving
from controller.mirror import identity_of, judge
from controller.node_conditions import node_counts
from controller.rollout import is_behind
from controller.standing import Standing, controller_of, standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.agents import Agents
    from controller.apply import Applier
    from controller.cluster import Cluster
    from controller.events import Recorder
    from controller.nodes import Agent
    from controller.settings import ControllerSettings
    from controller.state import State

Json = dict[str, Any]

# Seconds between two looks: agents clean within one or two, and asking costs as many small answers as there are nodes.
LOOK: Final = 1.0


@dataclass(frozen=True, slots=True)
class Cleaner:
    """Takes mirrors off the nodes. `clock` gives seconds that never go backwards."""

    cluster: Cluster
    settings: ControllerSettings
    state: State
    applier: Applier
    agents: Agents
    recorder: Recorder
    clock: Callable[[], float]
    _progress: dict[str, tuple[tuple[str, bool], Progress]] = field(default_factory=dict)

    async def hold(self, raw: Json) -> Json:
        """The mirror with our finalizer, so that it stays until its nodes are clean. Before any node is touched."""
        patch = None if self.settings.hostess_is_original else leaving.finalizer_patch(raw, held=True)
        if patch is None:
            return raw
        name, mirrors = raw["metadata"]["name"], self.state.mirrors
        with mirrors.writing(name):
            held = await self.cluster.patch(MIRROR, None, name, patch)
            mirrors.put(held, quietly=True)
        return held

    async def look(self, raw: Json) -> str | None:
        """Sees to it that the nodes are cleaned. Returns what is waited for, or None once the mirror was let go."""
        if self.settings.hostess_is_original:  # it knows nothing of cleaning
            ending = None
        elif self.is_orphaning(raw):
            kept = "What was made for the mirror is left behind (orphan), and so are the nodes as they are."
            ending = Occurrence("Normal", "NodesKept", kept, "Clean")
        else:
            progress = self._progress_of(raw)
            overdue = progress.is_overdue(self.settings.node_cleanup_deadline, self.clock())
            try:
                waiting = await self._waited_for(raw, progress)
            except (Conflict, Fenced):
                raise
            except ClusterError:
                if not overdue:
                    raise
                waiting = None  # somebody's admission webhook that is away, say, must not hold the mirror for ever
            if waiting is not None and not overdue:
                return waiting
            ending = _ending(progress, leaving.nodes_before(raw))
        await self._let_go(raw, ending)
        return None

    async def is_off(self, raw: Json) -> bool:
        """Whether the agents of a mirror that has lost its host name to another have taken it off their nodes.

        At the deadline, counted from the first question, it counts as being off, with an Event that names the nodes.
        """
        progress = self._progress_of(raw)
        overdue = progress.is_overdue(self.settings.node_cleanup_deadline, self.clock())
        if progress.given_up:
            return True
        try:
            agents = await self.agents.ask(await self.agents.every(raw["metadata"]["name"]))
            if self._seen(progress, agents, raw, lost=True) == (set(), 0):
                return True
        except (Conflict, Fenced):
            raise
        except ClusterError as error:
            # Somebody's admission webhook that is away, say, must not keep the rest of the mirror waiting for ever.
            if not overdue and not isinstance(error, Forbidden | Invalid | Gone):
                raise
        progress.given_up = overdue
        if progress.given_up and (ending := _ending(progress, leaving.nodes_before(raw))):
            self.recorder.record(raw, [ending])
        return progress.given_up

    def is_orphaning(self, raw: Json) -> bool:
        """Whether what was made for the mirror is to stay, or has been set free already."""
        mirror = identity_of(raw)
        live = self.state.children[DAEMON_SET].get(mirror.object_name)
        freed = live is not None and standing(live, mirror) is Standing.ORPHAN
        return freed or leaving.ORPHAN in leaving.finalizers(raw)

    def forget(self, name: str) -> None:
        """Drops what is remembered of a mirror that is gone, or is not to be taken off its nodes."""
        self._progress.pop(name, None)

    def _progress_of(self, raw: Json) -> Progress:
        # To be deleted is another reason than to have lost a host name, and gives the nodes their time anew.
        name, why = raw["metadata"]["name"], (raw["metadata"]["uid"], is_leaving(raw))
        if name not in self._progress or self._progress[name][0] != why:
            self._progress[name] = why, Progress()
        return self._progress[name][1]

    async def _waited_for(self, raw: Json, progress: Progress) -> str | None:
        """Asks the agents. Returns a sentence about those that are waited for; None where there are none."""
        name, deadline = raw["metadata"]["name"], self.settings.node_cleanup_deadline
        # A policy, a namespace that is going too, a role that lacks a right: none must hold the mirror for ever.
        refused = await self._told(raw)
        try:
            agents = await self.agents.every(name)
        except (Forbidden, Invalid, Gone) as error:
            return f"Being deleted; the agents cannot be found, {deadline:.0f} s at most: {error}"
        asked = await self.agents.ask(agent for agent in agents if agent.node not in progress.clean)
        waiting, starting = self._seen(progress, asked, raw, lost=bool(refused))
        if not waiting and not starting:
            return None
        sentence = leaving.waiting_sentence(waiting, starting, deadline)
        return f"{sentence} The API server refused: {refused}" if refused else sentence

    def _seen(self, progress: Progress, agents: list[Agent], raw: Json, *, lost: bool) -> tuple[set[str], int]:
        live = self.state.children[DAEMON_SET].get(identity_of(raw).object_name)
        untouched = leaving.is_untouched(raw, live)
        return progress.see(agents, self._expected(raw, lost=lost), untouched=untouched)

    async def _told(self, raw: Json) -> str:
        """Tells the agents what to do, those that were deleted too early made again. Returns what was refused."""
        try:
            await self._announce(raw)
            await self._keep_agents(raw)
        except (Forbidden, Invalid) as error:
            return str(error)
        return ""

    async def _announce(self, raw: Json) -> None:
        """Tells the agents by the mirror's Service, which all of them watch; makes it again where it was deleted."""
        mirror = identity_of(raw)
        store, name = self.state.children[SERVICE], mirror.object_name
        live, body = store.get(name), service(mirror, self.settings, cleaning=True)
        if live is None:
            if leaving.FOREGROUND not in leaving.finalizers(raw):  # as long as that is there it would be deleted again
                await self.applier.create(SERVICE, body)
            return
        owner = controller_of(live)
        if owner is None or owner["uid"] != mirror.uid or _announced(live) == mirror.uid:
            return
        version = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
        patch = {"metadata": {**version, "annotations": body["metadata"]["annotations"]}}
        with store.writing(name):
            store.put(await self.cluster.patch(SERVICE, self.applier.namespace, name, patch), quietly=True)

    async def _keep_agents(self, raw: Json) -> None:
        """Makes the agents again where they were deleted before they had cleaned, as a foreground deletion does."""
        name = identity_of(raw).object_name
        gone = name not in self.state.children[DAEMON_SET] and leaving.nodes_before(raw)
        if not gone or leaving.FOREGROUND in leaving.finalizers(raw):
            return
        mirror = judge(raw, self.settings.masquerade_domains)
        if isinstance(mirror, list):
            return
        facts = gather(mirror, self.settings, self.state, clock.now())
        if isinstance(facts, Lacking):
            return
        for kind, body in desired_objects(mirror, self.settings, facts):
            if kind in (SECRET, DAEMON_SET) and name not in self.state.children[kind]:
                await self.applier.create(kind, body)

    def _expected(self, raw: Json, *, lost: bool) -> int:
        """Nodes that are to have an agent: those of before where they are made again, or not counted anew yet.

        `lost`: agents that are not there will not be made again.
        """
        live = self.state.children[DAEMON_SET].get(identity_of(raw).object_name)
        if live is None:
            return 0 if lost and leaving.FOREGROUND not in leaving.finalizers(raw) else leaving.nodes_before(raw)
        return leaving.nodes_before(raw) if is_behind(live) or is_leaving(live) else node_counts(live)[0]

    async def _let_go(self, raw: Json, ending: Occurrence | None) -> None:
        patch = leaving.finalizer_patch(raw, held=False)
        if patch is not None:
            try:
                await self.cluster.patch(MIRROR, None, raw["metadata"]["name"], patch)
            except NotFound:
                return
            self.recorder.record(raw, [ending] if ending else [])


def _announced(service: Json) -> object:
    return dict_at(service, "metadata", "annotations").get(CLEANING_ANNOTATION)


def _ending(progress: Progress, before: int) -> Occurrence | None:
    """The Event at the end, for whoever has to look after a node; none where no node had an agent."""
    unseen = progress.unseen(before)
    if unseen:
        note = (
            f"Could not see these nodes clean of the mirror: {unseen}. Where one comes back, its /etc/hosts and"
            " certs.d may hold what the mirror's agent wrote there, between its marks."
        )
        return Occurrence("Warning", "NodesNotCleaned", note, "Clean")
    if not progress.clean:
        return None
    count = len(progress.clean)
    note = f"The mirror was taken off {'its node' if count == 1 else f'all of its {count} nodes'}."
    return Occurrence("Normal", "NodesCleaned", note, "Clean")
