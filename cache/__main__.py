"""Run the cache: `python -m cache CONFIG.json`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from cache.config import CacheConfig, ConfigError, load
from cache.program import Program
from common.logs import logger


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM and return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m cache CONFIG.json", file=sys.stderr)  # noqa: T201
        return 2
    path = Path(arguments[0])
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return uvloop.run(_run(path, config))


async def _run(path: Path, config: CacheConfig) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    log = logger(os.environ.get("LOG_LEVEL", "INFO").upper(), "cache")
    await Program(path, config, os.environ, log).run(stopping)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
