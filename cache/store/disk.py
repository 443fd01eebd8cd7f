"""Remember whether the volume takes what is written, and log each change once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache.store.blob_files import is_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.logs import Logger


@dataclass(slots=True)
class Disk:
    """The state of the volume. `error` is the last failure, empty after a write that worked.

    A full volume is no failure: eviction follows, and the free space shows it.
    """

    log: Logger
    failed: Callable[[], None]
    error: str = ""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Observe a write. Raises the OSError of the body."""
        try:
            yield
        except OSError as error:
            if not is_full(error):
                self.failed()
                self._change(error.strerror or str(error))
            raise
        self._change("")

    def _change(self, error: str) -> None:
        if error and error != self.error:
            self.log.warning("volume cannot be written", error=error)
        elif self.error and not error:
            self.log.info("volume can be written again")
        self.error = error
