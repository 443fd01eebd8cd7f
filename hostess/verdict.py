"""What an agent says of its node: to the kubelet as ready or not, to the controller with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How far a node is. CONFIGURED alone is ready."""

    PENDING = "pending"
    CONFIGURED = "configured"
    HINDERED = "hindered"  # something on the node, or on the way to the mirror, has to be mended by a person
    CLEANED = "cleaned"  # the mirror is being deleted, and nothing of it is on the node any more


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` in CamelCase, as conditions have it; `message` is a sentence for the administrator."""

    state: State
    reason: str
    message: str


class Hindrance(Exception):
    """Something on the node that a person has to mend."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
