"""Move the clock of a cache. A process that finds this file as `sitecustomize` runs it at its start."""

import os
import time
from collections.abc import Callable


def moved(monotonic: Callable[[], float], marker: str) -> Callable[[], float]:
    """Return a clock that is 3,601 seconds ahead while a file exists."""
    return lambda: monotonic() + 3601 * os.path.exists(marker)  # noqa: PTH110 (called often)


if __name__ == "sitecustomize":
    vars(time)["monotonic"] = moved(time.monotonic, os.environ["HOUR_PASSED"])
