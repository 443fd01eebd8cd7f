"""Run the cache until SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from cache import administration
from cache.config import ConfigError, load
from cache.program import Program
from cache.settings import CacheSettings
from common.logs import logger
from common.settings import SettingsError, read

if TYPE_CHECKING:
    from collections.abc import Mapping

INVALID_SETTINGS = 2  # exit status, as for wrong arguments of a command


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run the cache and return its exit status."""
    if arguments and arguments[0] in administration.COMMANDS:
        return administration.main(arguments)
    if len(arguments) != 1:
        sys.stderr.write(administration.USAGE)
        return INVALID_SETTINGS
    path = Path(arguments[0])
    try:
        settings, config = read(CacheSettings, environment), load(path)
    except (SettingsError, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return INVALID_SETTINGS
    log = logger(settings.log_level, "cache")
    _allow_many_files()
    gc.freeze()  # what was imported stays
    gc.enable()
    try:
        uvloop.run(_run(Program(path, config, environment, log)))
    except OSError as error:
        log.error("cannot serve", error=str(error))  # noqa: TRY400 (the message suffices)
        return 1
    return 0


def _allow_many_files() -> None:
    """Use the hard limit of open files. The usual soft limit of 1024 is below the number of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(program: Program) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await program.run(stopping)
