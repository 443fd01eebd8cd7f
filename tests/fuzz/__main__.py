"""Fuzz all targets in parallel, each for FUZZ_SECONDS: `make fuzz`."""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.fuzz.campaign import TARGETS, fuzz


def main() -> int:
    """Print one line per target and the findings. Return 1 if there are any."""
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    folder = Path(os.environ.get("FUZZ_FOLDER") or tempfile.mkdtemp(prefix="fuzz-"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(partial(fuzz, seconds=seconds, folder=folder), sys.argv[1:] or TARGETS))
    for outcome in outcomes:
        sys.stdout.write(f"{outcome}\n")
    found = [outcome for outcome in outcomes if outcome.finding]
    for outcome in found:
        sys.stdout.write(f"\n{outcome.target} (inputs in {folder}):\n{outcome.finding}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
