"""`python -m webhook`: reads the environment, puts the parts together, serves until SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time

import uvloop
from prometheus_client import CollectorRegistry

from common.logs import Logger, logger
from common.settings import SettingsError, read
from webhook.app import AppContext, application
from webhook.certificate_watcher import PAUSE, CertificateWatcher
from webhook.metrics import Metrics
from webhook.server import Server, config
from webhook.settings import WebhookSettings

WRONG_SETTINGS = 2  # exit status, as of a command that was called wrongly


def main() -> int:
    """The program; gives its exit status."""
    try:
        settings = read(WebhookSettings, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_SETTINGS
    log = logger(settings.log_level, "webhook")
    # In one process: the API server keeps few connections, so that a second one would stay idle. uvloop, because
    # asyncio's own loop reaches a third of the reviews a second.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, log))
    log.info("webhook stopped")
    return 0


async def _run(settings: WebhookSettings, log: Logger) -> None:
    rotation = CertificateWatcher((settings.certificate_file, settings.key_file), time.time, log)
    server = _server(settings, rotation, log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    rotation.look()
    while rotation.current is None and not server.should_exit:
        await asyncio.sleep(PAUSE)
        rotation.look()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(rotation.follow())
        await server.serve()
        following.cancel()


def _server(settings: WebhookSettings, rotation: CertificateWatcher, log: Logger) -> Server:
    metrics = Metrics(CollectorRegistry(), lambda: rotation.current.not_after if rotation.current else 0)
    app = application(AppContext(log, metrics, rotation.is_ready, settings.masquerade_domains))
    address = settings.host, settings.port

    def listening() -> None:
        gc.freeze()  # what lives now lives on: the collector need not look at all of it with each of its runs
        log.info("webhook listens", host=settings.host, port=settings.port)

    return Server(config(app, address, rotation.context), listening)


if __name__ == "__main__":
    sys.exit(main())
