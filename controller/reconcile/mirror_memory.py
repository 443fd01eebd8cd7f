"""Hold what the controller remembers about one mirror between two reconciles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apply.applier import ObjectMemory
from controller.duration_tracker import DurationTracker
from controller.nodes.node_history import NodeHistory
from controller.objects.finalizer import is_terminating
from controller.reconcile.fault_memory import FaultMemory
from controller.reconcile.node_cleanup_progress import CleanupProgress
from controller.storage.resizer import StorageMemory

if TYPE_CHECKING:
    from common.types import Json
    from controller.certificates.reissue_limiter import IssuedCertificate


@dataclass(slots=True)
class MirrorMemory:
    """State of one mirror that is not stored in the cluster. Another leader starts without it."""

    durations: DurationTracker = field(default_factory=DurationTracker)
    objects: ObjectMemory = field(default_factory=ObjectMemory)
    storage: StorageMemory = field(default_factory=StorageMemory)
    issued: IssuedCertificate | None = None
    cleanup: CleanupProgress | None = None
    cleaned_for: tuple[str, bool] | None = None  # UID, and if the mirror is terminating
    history: NodeHistory | None = None
    history_of_uid: str = ""
    caches: FaultMemory = field(default_factory=FaultMemory)
    agents: FaultMemory = field(default_factory=FaultMemory)
    dialers: FaultMemory = field(default_factory=FaultMemory)

    def history_of(self, obj: Json, daemon_set: Json | None) -> NodeHistory:
        """Return the history of the mirror's nodes."""
        uid = obj["metadata"]["uid"]
        if self.history is None or self.history_of_uid != uid:
            self.history, self.history_of_uid = NodeHistory.of(obj, daemon_set), uid
        return self.history

    def cleanup_of(self, obj: Json) -> CleanupProgress:
        """Return the progress of cleaning the nodes. A deletion restarts it, with a new deadline."""
        reason = obj["metadata"]["uid"], is_terminating(obj)
        if self.cleanup is None or self.cleaned_for != reason:
            self.cleanup, self.cleaned_for = CleanupProgress(), reason
        return self.cleanup
