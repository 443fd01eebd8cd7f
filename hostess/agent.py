"""Run the agent's loop: probe the mirror, configure the node, report the state."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from common.agent_protocol import MIRROR_UNREACHABLE, NODE_FILES_UNWRITABLE, RESERVED_NAME, State
from hostess import node_state, registries
from hostess.containerd.config_path import Reading
from hostess.fs import atomic
from hostess.health.probe import ProbeError
from hostess.health.replica_rotation import ReplicaRotation
from hostess.health.threshold import DEAD, FailureThreshold
from hostess.hostsfile.hosts_file import MountReplaced
from hostess.kube.mirror_endpoints import MirrorEndpoints
from hostess.metrics import Probes, text_of
from hostess.node_cleanup import NodeCleanup
from hostess.node_state import NodeConfigError, NodeState

if TYPE_CHECKING:
    from hostess.containerd.config_reader import Containerd
    from hostess.health.probe import Probe
    from hostess.json_log import Log
    from hostess.kube.mirror_endpoints import Endpoint
    from hostess.node_config import Node
    from hostess.settings import Settings

# Seconds between two rounds. A dead mirror is withdrawn after two failed probes: within 10 s if it hangs, 3 s if it
# refuses; one of several replicas 2 s later.
PROBE_INTERVAL: Final = 2.0
# Seconds until the next round while the last probes contradict the state.
RETRY_INTERVAL: Final = 0.5
# Seconds between two probes of the mirror's second address in a dual-stack cluster.
SECOND_INTERVAL: Final = 20.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Limits in seconds.

    `hosts_read`: a runtime written in Go may use the old hosts file for so long after a change.
    `unreachable`: a mirror with ready pods may be silent for so long, as in a rollout, before it counts as a problem.
    `pods`: the pods of one round must answer within this time together; slower ones make each pull slow.
    """

    hosts_read: float = 5.0
    unreachable: float = 15.0
    pods: float = 10.0


class _Stopped(Exception):
    """The agent ends, and the result of a probe must not change the node any more."""


@dataclass(slots=True)
class Agent:
    """Agent of one mirror on one node. Any thread may call `update`."""

    settings: Settings
    node: Node
    probe: Probe
    containerd: Containerd
    log: Log
    deadlines: Deadlines = Deadlines()
    state: NodeState = node_state.STARTING
    cleanup: NodeCleanup = field(init=False)
    probes: Probes = field(default_factory=Probes)
    _mirror: MirrorEndpoints | None = None
    _last_addresses: tuple[str, ...] = ()
    _health: FailureThreshold = field(default_factory=FailureThreshold)
    _rotation: ReplicaRotation = field(default_factory=ReplicaRotation)
    _has_answered: bool = False
    _probe_error: str = ""
    _unreachable_since: float | None = None
    _name_known_at: float = 0.0  # by the monotonic clock
    _second_due: float = 0.0  # by the monotonic clock
    _last_round: float = field(default_factory=time.monotonic)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Prepare the cleanup of the same node."""
        self.cleanup = NodeCleanup(self.node, self.log)

    @property
    def is_stuck(self) -> bool:
        """Return True if the loop has not finished a round for longer than any round takes."""
        return time.monotonic() - self._last_round > node_state.STUCK_AFTER

    @property
    def reported_state(self) -> NodeState:
        """Return the state to report, which a stuck loop cannot update."""
        return node_state.STUCK if self.is_stuck else self.state

    @property
    def uses_mirror(self) -> bool | None:
        """Return True if the node pulls through the mirror; None if the agent cannot tell."""
        state = self.reported_state.state
        return None if state is State.UNVERIFIED else state is State.CONFIGURED and self._health.alive is True

    def metrics(self) -> str:
        """Return the metrics."""
        return text_of(self.reported_state, self.probes, uses_mirror=self.uses_mirror)

    @property
    def saw_removal(self) -> bool:
        """Return True if the watch saw the Service deleted or terminating."""
        return self._mirror is not None and self._mirror.removed

    @property
    def knows_mirror(self) -> bool:
        """Return True if the watch sees the Service, and nothing deletes it."""
        seen = self._mirror
        return seen is not None and bool(seen.addresses) and not (seen.cleaning or seen.removed)

    def update(self, mirror: MirrorEndpoints) -> None:
        """Take a new state of the cluster and start the next round."""
        self._mirror = mirror
        self._wake.set()

    def stop(self) -> None:
        """Wake the loop, so that it sees `stopping`."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Configure the node and update the state until `stopping`."""
        self._stopping = stopping
        with contextlib.suppress(_Stopped):
            while not stopping.is_set():
                self._wake.clear()
                state = self._run_round()
                if state != self.state:
                    self.log.info(
                        "node state changed", state=state.state.value, reason=state.reason, message=state.message
                    )
                self.state, self._last_round = state, time.monotonic()
                self._wake.wait(RETRY_INTERVAL if self._health.contrary else PROBE_INTERVAL)

    def _run_round(self) -> NodeState:
        try:
            return self._sync(self._mirror)
        except NodeConfigError as error:
            return NodeState(State.BLOCKED, error.reason, error.message)
        except MountReplaced:
            return node_state.FILES_REPLACED
        except TimeoutError as error:
            return NodeState(State.PENDING, "NodeBusy", f"{error}.")
        except OSError as error:
            if self.node.is_outdated:
                return node_state.FILES_REPLACED
            where = f"{error.filename}: " if error.filename else ""
            return NodeState(State.BLOCKED, NODE_FILES_UNWRITABLE, f"{where}{error.strerror or error}.")

    def _sync(self, seen: MirrorEndpoints | None) -> NodeState:
        mirror = seen or MirrorEndpoints()
        # The Service is deleted before the agent.
        if mirror.cleaning or (self.cleanup.is_done and not mirror.addresses):
            self.cleanup.clean()
            return node_state.CLEANED
        if self.settings.takes_nodes_name:
            self._refuse_name()
        self.cleanup.reset()
        self.node.registries = mirror.registries or self.node.registries
        self.node.presence.hold()
        addresses = mirror.addresses or self._remembered_addresses()
        ca = atomic.read_or_none(self.settings.ca_file)
        if not ca:
            self.node.withdraw()  # without a CA there is no probe, and the mirror may be dead
            return node_state.CA_UNKNOWN
        if not addresses:
            return node_state.MIRROR_UNKNOWN
        self._health = self._check(addresses, ca, mirror)
        gone = seen is not None and not mirror.addresses  # of `seen`: self._mirror may be newer than the probe
        if not self._health.alive:
            return self._withdraw(mirror, () if gone else addresses, ca)
        return node_state.SERVICE_GONE if gone else self._configure(addresses, ca)

    def _remembered_addresses(self) -> tuple[str, ...]:
        """Return the mirror's last addresses; read them from the node until they are found."""
        if not self._last_addresses:
            # Another program may be writing the hosts file. Real problems show at the first write.
            with contextlib.suppress(OSError, NodeConfigError, MountReplaced):
                self._last_addresses = self.node.addresses()
        return self._last_addresses

    def _refuse_name(self) -> NoReturn:
        """Clean the node and raise NodeConfigError: with the hosts entry the node itself would be misdirected."""
        if not self.node.is_clean():
            self.node.clean()
        raise NodeConfigError(
            RESERVED_NAME,
            f"{self.settings.masquerade} is the name of the node or of the API server, so pulls go to the upstream. Set"
            " another spec.masqueradeUrl.",
        )

    def _withdraw(self, mirror: MirrorEndpoints, addresses: tuple[str, ...], ca: bytes) -> NodeState:
        """Remove hosts.toml before anything that may fail; then publish name and CA for when the mirror answers."""
        if self._health.alive is False:
            self.node.withdraw()
        if addresses:
            reads_docker = self.containerd.reads_docker
            self._note_name(changed=self.node.introduce(addresses, ca, reads_docker=reads_docker))
        if self._health.alive is None:
            return NodeState(State.PENDING, "MirrorSilent", f"The mirror has not answered yet: {self._probe_error}.")
        return self._withdrawn_state(mirror)

    def _check(self, addresses: tuple[str, ...], ca: bytes, mirror: MirrorEndpoints) -> FailureThreshold:
        if mirror.endpoints == ():
            self._probe_error = "none of its cache pods is ready"
            return DEAD
        try:
            self._probe(addresses[0], ca)
            self._probe_pods(mirror.endpoints or (), ca)
        except ProbeError as error:
            self._probe_error = str(error)
            self.probes.count(time.time(), answered=False)
            return self._health.after(answered=False)
        self.probes.count(time.time(), answered=True)
        self._has_answered, self._unreachable_since = True, None
        self._name_node(addresses[1:], ca)
        return self._health.after(answered=True)

    def _name_node(self, addresses: tuple[str, ...], ca: bytes) -> None:
        """Probe the second address: the caches learn the node's address of that family, from which it may pull.

        Its failure does not count, because runtimes then use the first address.
        """
        if addresses and time.monotonic() > self._second_due:
            self._second_due = time.monotonic() + SECOND_INTERVAL
            for address in addresses:
                with contextlib.suppress(ProbeError):
                    self._probe(address, ca)

    def _probe_pods(self, endpoints: tuple[Endpoint, ...], ca: bytes) -> None:
        """Probe pods one by one until the first failure, so that ten pods take hardly longer than two."""
        doubtful = not self._health.alive or bool(self._health.contrary)
        until = time.monotonic() + self.deadlines.pods
        for endpoint in self._rotation.next_pods(endpoints, doubtful=doubtful):
            if time.monotonic() > until:
                raise ProbeError(f"its cache pods need more than {self.deadlines.pods:.0f} s to answer")
            try:
                self._probe(endpoint.address, ca, endpoint.port)
            except ProbeError as error:
                raise ProbeError(f"one of its cache pods, at {endpoint.address}: {error}") from error

    def _probe(self, address: str, ca: bytes, port: int | None = None) -> None:
        """Probe one address. Raises ProbeError; _Stopped if the agent ends meanwhile."""
        try:
            self.probe.check(address, ca, port)
        finally:
            if self._stopping.is_set():
                raise _Stopped

    def _configure(self, addresses: tuple[str, ...], ca: bytes) -> NodeState:
        """Write all files, then report or raise what prevents their use."""
        self.node.refuse_contradiction(addresses)
        problem, found = None, Reading()
        needs_folder = any(each.host for each in self.node.registries or ())
        version_read = self.containerd.version_read  # until then, write nothing that only some runtimes need
        try:
            found = self.containerd.reading(needs_folder=needs_folder) if version_read else found
        except NodeConfigError as error:
            problem = error
        new = self.node.configure(
            addresses,
            ca,
            found.literal,
            reads_docker=self.containerd.reads_docker,
            reads_drop_in=self.containerd.reads_drop_in,
            searches_docker=found.searches_docker,
        )
        self._note_name(changed=new)
        self._last_addresses = addresses
        if not version_read:
            return node_state.RUNTIME_UNKNOWN
        if problem is not None:
            raise problem
        if not self.node.has_name():
            self._note_name(changed=True)
            return node_state.NAME_MISSING
        if time.monotonic() < self._name_known_at:
            return node_state.NAME_IS_NEW
        if self.node.registries is None:
            return node_state.REGISTRIES_UNKNOWN
        images = registries.hosts(self.node.registries)
        return node_state.configured(images, found.doubt, self.probe.network.doubt)

    def _note_name(self, *, changed: bool) -> None:
        if changed:
            self._name_known_at = time.monotonic() + self.deadlines.hosts_read

    def _withdrawn_state(self, mirror: MirrorEndpoints) -> NodeState:
        """Return the state of a withdrawn mirror: a problem only if a ready pod does not answer for long."""
        message = f"Pulls go to the upstream, since the mirror does not answer this node: {self._probe_error}."
        if not mirror.endpoints:
            self._unreachable_since = None
            return NodeState(State.CONFIGURED if self._has_answered else State.PENDING, "MirrorAway", message)
        now = time.monotonic()
        self._unreachable_since = now if self._unreachable_since is None else self._unreachable_since
        is_long = now - self._unreachable_since > self.deadlines.unreachable
        return NodeState(State.BLOCKED if is_long else State.PENDING, MIRROR_UNREACHABLE, message)
