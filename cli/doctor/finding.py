"""Define the result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cli.kubectl import Json

# An error stops something. A warning does not, but needs attention.
ERROR, WARNING = "error", "warning"
SEVERITIES: Final = (ERROR, WARNING)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: its object, a message and the action that repairs it."""

    severity: str
    reason: str
    object: str
    message: str
    action: str

    def as_json(self) -> Json:
        """Return the finding as an item of the output."""
        return {
            "severity": self.severity,
            "reason": self.reason,
            "object": self.object,
            "message": self.message,
            "action": self.action,
        }
