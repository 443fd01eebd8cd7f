"""`python -m tests.support.shifted`: the controller with a wall clock that is ahead by what a file says, in seconds.

Only as far as the controller itself reads it: TLS goes on by the right time, as certificates of an API server that end
within two years would close the door to a controller whose whole machine is ahead.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from controller import clock
from controller.__main__ import main

AHEAD = Path(os.environ["SECONDS_AHEAD_FILE"])


def wall() -> float:
    """Seconds since 1970 by the clock that is ahead; a file that is just being written is the same as before."""
    return time.time() + float(AHEAD.read_text() or 0)


vars(clock)["time"] = SimpleNamespace(**{**vars(time), "time": wall})  # all its other clocks as they are

if __name__ == "__main__":
    sys.exit(main())
