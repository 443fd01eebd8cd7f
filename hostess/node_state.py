"""What an agent says of its node: to the kubelet as ready or not, to the controller with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.agent_protocol import State


@dataclass(frozen=True, slots=True)
class NodeState:
    """`reason` in CamelCase, as conditions have it; `message` is a sentence for the administrator."""

    state: State
    reason: str
    message: str


class NodeConfigError(Exception):
    """Something on the node that a person has to mend."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
