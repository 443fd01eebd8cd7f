"""Make stores of the cache in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.config import Floor
from cache.metrics import Metrics
from cache.store.disk import Disk
from cache.store.eviction import Evictor
from cache.store.file_store import FileStore
from common.logs import logger

if TYPE_CHECKING:
    from pathlib import Path


def a_store(root: Path, max_size: int | None = None) -> tuple[FileStore, Evictor]:
    """Return an empty store that keeps no space free, and what evicts from it."""
    log, metrics = logger("ERROR", "cache"), Metrics()
    evictor = Evictor(root, 0.0, Floor(), max_size, log, metrics.count_eviction)
    store = FileStore(root, Disk(log, metrics.store_errors.inc), evictor.evict, evictor.take, evictor.note_stored)
    store.prepare()
    return store, evictor
