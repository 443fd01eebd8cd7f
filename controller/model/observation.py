"""Collect the results of a reconcile for the status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.cache_protocol import CredentialsResult

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.condition import Reason
    from controller.model.inputs import Inputs, MissingInput
    from controller.model.results import ApplyResult, StorageResult


@dataclass(frozen=True, slots=True)
class Observation:
    """Results of a reconcile, and the mirror's objects after it. `refused` is the API server's message.

    `agents` are some of those whose nodes are not ready, `unschedulable` all that cannot be scheduled. `lost` names the
    nodes of the latter that had an agent before. `verdicts` are what the cache
    pods say of each upstream; there are none before the first answers. `pulling` is the number of nodes that pulled
    through them. `volume_problem` says which
    of them cannot store content, `cache_fault`, `agent_fault` and `dialer_fault` why pods do not run; empty if there is
    no reason.
    """

    inputs: Inputs | MissingInput
    applied: ApplyResult | None = None
    storage: StorageResult | None = None
    service: Json | None = None
    stateful_set: Json | None = None
    daemon_set: Json | None = None
    refused: str | None = None
    agents: tuple[Agent, ...] = ()
    unschedulable: tuple[Agent, ...] = ()
    lost: frozenset[str] = frozenset()
    verdicts: tuple[Verdict, ...] = ()
    pulling: int | None = None
    volume_problem: str = ""
    cache_fault: str = ""
    agent_fault: str = ""
    dialer_fault: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """State of one agent: its pod, and its answer (empty if there is none).

    `finished`: the pod has ended or is terminating. `may_start`: not ready, but it may become ready.
    `start_overdue`: its kubelet could not start it for a long time. `idle`: its container has never run.
    `unschedulable` is the message of the scheduler if it finds no room on the node; else it is empty.
    """

    node: str  # also of a pod that is not scheduled yet, if the DaemonSet names its node
    address: str = ""
    ready: bool = False
    finished: bool = False
    may_start: bool = True
    start_overdue: bool = False
    scheduled: bool = True
    idle: bool = False
    unschedulable: str = ""
    state: str = ""
    reason: str = ""
    message: str = ""
    pod: Json = field(default_factory=dict, compare=False)  # preconditions for deleting the pod


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answers of an upstream to the cache pods.

    `is_switching`: no cache pod that answers serves this upstream yet.
    """

    cause: Reason
    message: str
    login: CredentialsResult = CredentialsResult.NOT_CHECKED
    is_switching: bool = False
