"""The agent's loop: look at cluster, mirror and node, bring the node to what follows from them, say how it stands."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from common.agent_protocol import (
    AGENT_STUCK,
    MIRROR_UNREACHABLE,
    NODE_FILES_UNWRITABLE,
    REPLACED,
    RESERVED_NAME,
    State,
)
from hostess.fs import atomic
from hostess.health.probe import NoAnswer
from hostess.health.replica_rotation import ReplicaRotation
from hostess.health.threshold import DEAD, FailureThreshold
from hostess.hostsfile.hosts_file import MountReplaced
from hostess.kube.mirror_endpoints import MirrorEndpoints
from hostess.node_state import NodeConfigError, NodeState

if TYPE_CHECKING:
    from hostess.containerd.config_reader import Containerd
    from hostess.health.probe import Probe
    from hostess.json_log import Log
    from hostess.kube.mirror_endpoints import Endpoint
    from hostess.node_config import Node
    from hostess.settings import Settings

# Seconds between two looks. A mirror that dies is withdrawn after two failed probes: 2 s until the first, which takes
# at most 4 (connecting, then asking), and the second: within some 10 s when it hangs, and 3 when it refuses; one of
# several replicas 2 s later.
PROBE_INTERVAL: Final = 2.0
# Seconds until the next look while the last ones contradict what stands.
RETRY_INTERVAL: Final = 0.5
# Seconds after which the last verdict says nothing any more. A look takes some 32 at most: 6 for an answer that is slow
# at each step, 10 and the last one's 6 for those of the pods, 5 for the lock, twice; a node's disk may need some more.
STALE: Final = 60.0
GONE: Final = NodeState(State.PENDING, "ServiceGone", "The mirror's Service is gone; the node is left as it is.")
STUCK: Final = NodeState(
    State.BLOCKED,
    AGENT_STUCK,
    f"The agent has not looked at its node for {STALE:.0f} s; a file system that hangs would do that. Its kubelet"
    " restarts it.",
)
OUTDATED: Final = NodeState(
    State.PENDING,
    REPLACED,
    "/etc/hosts, or a folder that the agent writes to, was removed or replaced on the node; the agent gets a new pod,"
    " which waits for the file, and makes the folder.",
)
NOTHING_YET: Final = NodeState(State.PENDING, "Starting", "The agent has just started.")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that others are given.

    `hosts_read`: after a change of the hosts file a runtime written in Go may still go by what it read before.
    `passing`: a mirror with ready pods may be silent so long before a person has to look: kube-proxy and a rollout need
    some.
    `pods`: together they may take so long to answer, one after another: ten that need more make each pull slow.
    """

    hosts_read: float = 5.0
    passing: float = 15.0
    pods: float = 10.0


class _Stopped(Exception):
    """The agent ends: what the mirror answered meanwhile changes nothing on the node."""


@dataclass(slots=True)
class Agent:
    """One mirror's agent on one node. `changed` is told a new view of the cluster, by whichever thread has one."""

    settings: Settings
    node: Node
    probe: Probe
    containerd: Containerd
    log: Log
    deadlines: Deadlines = Deadlines()
    verdict: NodeState = NOTHING_YET
    _view: MirrorEndpoints | None = None
    _known: tuple[str, ...] = ()  # addresses of the last configured state
    _liveness: FailureThreshold = field(default_factory=FailureThreshold)
    _turns: ReplicaRotation = field(default_factory=ReplicaRotation)
    _served: bool = False  # whether the mirror has answered this agent at all
    _silence: str = ""  # why the mirror does not answer
    _silent_since: float | None = None
    _known_from: float = 0.0  # when the runtime surely knows the mirror's name, by the monotonic clock
    _looked_at: float = field(default_factory=time.monotonic)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_stuck(self) -> bool:
        """Whether its loop has not come round for longer than anything there takes."""
        return time.monotonic() - self._looked_at > STALE

    @property
    def word(self) -> NodeState:
        """How it stands with the node, which a loop that is stuck cannot say."""
        return STUCK if self.is_stuck else self.verdict

    def changed(self, view: MirrorEndpoints) -> None:
        """Takes in what the cluster says now."""
        self._view = view
        self._wake.set()

    def stop(self) -> None:
        """Lets the loop look whether it is to end."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Configure the node and update the state until `stopping`."""
        self._stopping = stopping
        with contextlib.suppress(_Stopped):
            while not stopping.is_set():
                self._wake.clear()
                verdict = self._looked()
                if verdict != self.verdict:
                    self.log.info("node", state=verdict.state.value, reason=verdict.reason, message=verdict.message)
                self.verdict, self._looked_at = verdict, time.monotonic()
                self._wake.wait(RETRY_INTERVAL if self._liveness.contrary else PROBE_INTERVAL)

    @property
    def saw_removal(self) -> bool:
        """True if the watch saw the Service deleted or terminating."""
        return self._view is not None and self._view.removed

    def remove_mirror(self, reason: str) -> None:
        """Remove all files of the mirror from the node, after the loop has ended. A failure is only logged."""
        try:
            self.node.clean()
        except (NodeConfigError, MountReplaced, OSError) as error:
            self.log.warning("node cleanup failed", why=f"{type(error).__name__}: {error}", reason=reason)
        else:
            self.log.info("node cleaned", reason=reason)

    def _looked(self) -> NodeState:
        try:
            return self._brought(self._view)
        except NodeConfigError as hindrance:
            return NodeState(State.BLOCKED, hindrance.reason, hindrance.message)
        except MountReplaced:
            return OUTDATED
        except TimeoutError as error:
            return NodeState(State.PENDING, "NodeBusy", f"{error}.")
        except OSError as error:
            if self.node.is_outdated:
                return OUTDATED
            where = f"{error.filename}: " if error.filename else ""
            return NodeState(State.BLOCKED, NODE_FILES_UNWRITABLE, f"{where}{error.strerror or error}.")

    def _brought(self, told: MirrorEndpoints | None) -> NodeState:
        view = told or MirrorEndpoints()
        cleaned = self.verdict.state is State.CLEANED
        if view.cleaning or (cleaned and not view.addresses):  # the Service goes before the agent does
            if not cleaned:
                self.node.clean()
            return NodeState(
                State.CLEANED, "Cleaned", "The mirror is being deleted; nothing of it is left on this node."
            )
        if self.settings.takes_nodes_name:
            self._refused()
        addresses = view.addresses or self._remembered()
        authority = atomic.content_of(self.settings.authority)
        if not authority:
            self.node.withdraw()  # a mirror that cannot be asked may be dead
        if not addresses or not authority:
            return NodeState(State.PENDING, "MirrorUnknown", "The mirror's Service or its CA has not been seen yet.")
        self._liveness = self._asked(addresses[0], authority, view)
        gone = told is not None and not view.addresses  # not self._view, which may come while the mirror is asked
        if not self._liveness.alive:
            return self._unanswered(view, () if gone else addresses, authority)
        return GONE if gone else self._configured(addresses, authority)

    def _remembered(self) -> tuple[str, ...]:
        """Where the mirror was last. Sought until it is found: somebody may just be writing the hosts file."""
        if not self._known:
            with contextlib.suppress(
                OSError, NodeConfigError, MountReplaced
            ):  # told once something is to be written there
                self._known = self.node.addresses()
        return self._known

    def _refused(self) -> NoReturn:
        """Raises Hindrance, with nothing of the mirror on the node: it would be found where the node is sought."""
        if self.verdict.reason != RESERVED_NAME:
            self.node.clean()
        raise NodeConfigError(
            RESERVED_NAME,
            f"{self.settings.masquerade} is the name of the node itself or of the API server, and is left to it: set"
            " another spec.masqueradeUrl.",
        )

    def _unanswered(self, view: MirrorEndpoints, addresses: tuple[str, ...], authority: bytes) -> NodeState:
        """Out of the way first, before anything that may fail; then known by name, for when it answers."""
        if self._liveness.alive is False:
            self.node.withdraw()
        if addresses:
            self._noted(news=self.node.introduce(addresses, authority))
        if self._liveness.alive is None:
            return NodeState(State.PENDING, "MirrorSilent", f"The mirror has not answered yet: {self._silence}.")
        return self._away(view)

    def _asked(self, address: str, authority: bytes, view: MirrorEndpoints) -> FailureThreshold:
        if view.endpoints == ():
            self._silence = "none of its cache pods is ready"
            return DEAD
        try:
            self._probe(address, authority)
            self._ask_pods(view.endpoints or (), authority)
        except NoAnswer as why:
            self._silence = str(why)
            return self._liveness.after(answered=False)
        self._served, self._silent_since = True, None
        return self._liveness.after(answered=True)

    def _ask_pods(self, endpoints: tuple[Endpoint, ...], authority: bytes) -> None:
        """The first one that is silent ends it, so that a look takes hardly longer with ten of them than with two."""
        doubtful = not self._liveness.alive or bool(self._liveness.contrary)
        until = time.monotonic() + self.deadlines.pods
        for endpoint in self._turns.of(endpoints, doubtful=doubtful):
            if time.monotonic() > until:
                raise NoAnswer(f"its cache pods are too slow to be asked within {self.deadlines.pods:.0f} s")
            try:
                self._probe(endpoint.address, authority, endpoint.port)
            except NoAnswer as why:
                raise NoAnswer(f"one of its cache pods, at {endpoint.address}: {why}") from why

    def _probe(self, address: str, authority: bytes, port: int | None = None) -> None:
        """Probe one address. Raises NoAnswer; _Stopped if the agent ends meanwhile: there is little time left."""
        try:
            self.probe.ask(address, authority, port)
        finally:
            if self._stopping.is_set():
                raise _Stopped

    def _configured(self, addresses: tuple[str, ...], authority: bytes) -> NodeState:
        """Writes all that can be written, then tells what stands in the way of its being used."""
        ignored, literal = None, None
        asked = self.containerd.asked  # before, nothing is made that only some runtimes need
        try:
            literal = self.containerd.reading().literal if asked else None
        except NodeConfigError as hindrance:
            ignored = hindrance
        self._noted(news=self.node.configure(addresses, authority, literal))
        self._known = addresses
        if not asked:
            return NodeState(State.PENDING, "RuntimeUnknown", "The node's runtime has not been asked for yet.")
        if ignored is not None:
            raise ignored
        if time.monotonic() < self._known_from:
            return NodeState(
                State.PENDING, "NameIsNew", "The runtime reads the changed hosts file within five seconds."
            )
        return NodeState(State.CONFIGURED, "Configured", "This node pulls through the mirror.")

    def _noted(self, *, news: bool) -> None:
        if news:
            self._known_from = time.monotonic() + self.deadlines.hosts_read

    def _away(self, view: MirrorEndpoints) -> NodeState:
        """Withdrawn is all that a node can be while no cache pod is ready; that one is and does not answer is wrong."""
        message = f"Pulls go to the upstream, since the mirror does not answer: {self._silence}."
        if not view.endpoints:
            self._silent_since = None
            return NodeState(State.CONFIGURED if self._served else State.PENDING, "MirrorAway", message)
        now = time.monotonic()
        self._silent_since = now if self._silent_since is None else self._silent_since
        state = State.BLOCKED if now - self._silent_since > self.deadlines.passing else State.PENDING
        return NodeState(state, MIRROR_UNREACHABLE, message)
