"""Remember the progress of node cleanup per mirror and reason."""

from __future__ import annotations

from controller.reconcile.mirror_memory import MirrorMemory
from tests.support.controller import NOW, stored


def test_deletion_restarts_cleanup_progress() -> None:
    """A mirror that lost its host name and is then deleted gets a new deadline."""
    memory, withdrawn = MirrorMemory(), stored()
    progress = memory.cleanup_of(withdrawn)
    assert memory.cleanup_of(withdrawn) is progress
    deleted = {**withdrawn, "metadata": {**withdrawn["metadata"], "deletionTimestamp": NOW}}
    assert memory.cleanup_of(deleted) is not progress


def test_recreated_mirror_restarts_cleanup_progress() -> None:
    memory = MirrorMemory()
    assert memory.cleanup_of(stored(uid="one")) is not memory.cleanup_of(stored(uid="two"))
