"""What one reconcile found and did, gathered for the status to be computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs, MissingInput
    from controller.model.results import ApplyResult, StorageResult


@dataclass(frozen=True, slots=True)
class Observation:
    """Objects as they are after the pass; None where there is none. `refused` is what the API server would not take.

    `agents` are those that keep their nodes from being ready, a few of them, with what they say; `verdict` is
    what the upstream last said, None while it has not.
    """

    inputs: Inputs | MissingInput
    applied: ApplyResult | None = None
    storage: StorageResult | None = None
    service: Json | None = None
    stateful_set: Json | None = None
    daemon_set: Json | None = None
    refused: str | None = None
    agents: tuple[Agent, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: its pod as Kubernetes has it, then what it says, empty where it was not asked or does not answer.

    `over`: the pod has ended, or is about to, and will be replaced. `hopeful`: not ready, but it may be yet. `blocked`:
    hopeful too, but for long it has not been able to start.
    """

    node: str
    address: str = ""
    ready: bool = False
    over: bool = False
    hopeful: bool = True
    blocked: bool = False
    state: str = ""
    reason: str = ""
    message: str = ""
    pod: Json = field(default_factory=dict, compare=False)  # metadata by which exactly this one is deleted


REACHABLE: Final = "Reachable"

NOT_PROBED: Final = "NotProbed"


class Login(Enum):
    """What an upstream says of the credentials that it was given, or of being given none."""

    ACCEPTED = "CredentialsAccepted"
    REFUSED = "CredentialsRefused"
    REQUIRED = "CredentialsRequired"
    UNCLEAR = "CredentialsNotVerified"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether pulls can come from an upstream: `reason` is Reachable, or says why not; `login` None where unknown."""

    reason: str
    message: str
    login: Login | None = None

    @property
    def status(self) -> str:
        """Status of the condition UpstreamReachable."""
        return {REACHABLE: "True", NOT_PROBED: "Unknown"}.get(self.reason, "False")
