"""Run the webhook until SIGTERM: `python -m webhook`."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time

import uvloop

from common.logs import Logger, logger
from common.metrics import new_registry
from common.settings import SettingsError, read
from common.version import VERSION
from webhook.app import AppContext, application
from webhook.certificate_watcher import POLL_INTERVAL, CertificateWatcher
from webhook.metrics import Metrics
from webhook.server import Server, config
from webhook.settings import WebhookSettings

INVALID_SETTINGS = 2  # exit status, as for wrong arguments of a command


def main() -> int:
    """Run the webhook and return its exit status."""
    try:
        settings = read(WebhookSettings, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return INVALID_SETTINGS
    log = logger(settings.log_level, "webhook")
    # One process is enough: the API server keeps few connections. uvloop serves three times as many reviews per second
    # as asyncio's own loop.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, log))
    log.info("webhook stopped")
    return 0


async def _run(settings: WebhookSettings, log: Logger) -> None:
    watcher = CertificateWatcher((settings.certificate_file, settings.key_file), time.time, log)
    server = _server(settings, watcher, log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    watcher.reload()
    while watcher.current is None and not server.should_exit:
        await asyncio.sleep(POLL_INTERVAL)
        watcher.reload()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watcher.watch())
        await server.serve()
        watching.cancel()


def _server(settings: WebhookSettings, watcher: CertificateWatcher, log: Logger) -> Server:
    metrics = Metrics(new_registry(), lambda: watcher.current.not_after if watcher.current else 0)
    app = application(AppContext(log, metrics, watcher.is_ready, settings.masquerade_domains))
    address = settings.host, settings.port

    def on_listening() -> None:
        gc.freeze()  # objects of the start live until the end, so the garbage collector need not visit them
        log.info("webhook listening", version=VERSION, host=settings.host, port=settings.port)

    return Server(config(app, address, watcher.context), on_listening)


if __name__ == "__main__":
    sys.exit(main())
