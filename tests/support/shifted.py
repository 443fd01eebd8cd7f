"""Run the controller with a wall clock ahead by the seconds in a file: `python -m tests.support.shifted`.

TLS still uses the real time, so that the API server's certificates stay valid. All mirrors are requeued each second.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from controller import clock, manager
from controller.__main__ import main

AHEAD = Path(os.environ["SECONDS_AHEAD_FILE"])


def wall() -> float:
    """Return seconds since 1970 by the shifted clock; an empty file means no shift."""
    return time.time() + float(AHEAD.read_text() or 0)


vars(clock)["time"] = SimpleNamespace(**{**vars(time), "time": wall})
vars(manager)["RESYNC_INTERVAL"] = 1.0

if __name__ == "__main__":
    sys.exit(main([]))
