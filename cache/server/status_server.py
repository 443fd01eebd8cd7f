"""Serve `/healthz`, `/readyz`, `/metrics` and `/status` on a port of their own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cache.store.eviction import Space
from common import cache_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache.clients import Clients
    from cache.content.download import Downloads
    from cache.metrics import Metrics
    from cache.mirror import Mirror, Mirrors
    from cache.store.disk import Disk
    from cache.store.eviction import Evictor


@dataclass(frozen=True, slots=True)
class StatusServer:
    """The pages of the status port. None of them depends on the upstream."""

    mirrors: Mirrors
    metrics: Metrics
    downloads: Downloads
    evictor: Evictor
    disk: Disk
    clients: Clients
    is_ready: Callable[[], bool]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        match request.path:
            case cache_protocol.ALIVE_PATH:
                return web.Response(text="ok\n")
            case cache_protocol.READY_PATH:
                return web.Response(text="ok\n") if self.is_ready() else web.Response(status=503, text="starting\n")
            case "/metrics":
                self._measure()
                return web.Response(
                    body=generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
                )
            case cache_protocol.STATUS_PATH:
                return web.Response(body=orjson.dumps(self.status()), content_type="application/json")
            case _:
                return web.Response(status=404, text="not found\n")

    def status(self) -> dict[str, Any]:
        """Return the state of upstreams and volume. It holds nothing of a Secret."""
        space, error = self._space()
        return {
            "upstreams": [_upstream(each) for each in self.mirrors.by_host.values()],
            "space": {
                "total": space.total,
                "free": space.free,
                "minFree": self.evictor.floor.of(space.total),
                "stored": self.evictor.stored_bytes,
                "writeError": self.disk.error or error,
                "crowded": not error and self.evictor.is_crowded(space),
            },
            "downloads": len(self.downloads),
            "clients": self.clients.report(time.monotonic()),
        }

    def _space(self) -> tuple[Space, str]:
        """Return the space of the volume; zeros and the error if the volume does not tell it."""
        try:
            return self.evictor.space(), ""
        except OSError as error:
            return Space(0, 0, 0, 0), error.strerror or str(error)

    def _measure(self) -> None:
        metrics, (space, _) = self.metrics, self._space()
        metrics.downloads.set(len(self.downloads))
        metrics.stored_bytes.set(self.evictor.stored_bytes)
        metrics.free_bytes.set(space.free)
        metrics.min_free_bytes.set(self.evictor.floor.of(space.total))
        metrics.volume_bytes.set(space.total)
        for gauge in (metrics.upstream_reason, metrics.rate_limit, metrics.rate_limit_remaining):
            gauge.clear()  # of former upstreams and reasons
        for mirror in self.mirrors.by_host.values():
            health = mirror.client.health
            rate = health.rate_limit(time.monotonic())
            metrics.upstream_reason.labels(mirror.host, health.reason.value).set(1)
            for gauge, value in ((metrics.rate_limit, rate.limit), (metrics.rate_limit_remaining, rate.remaining)):
                if value is not None:
                    gauge.labels(mirror.host).set(value)


def _upstream(mirror: Mirror) -> dict[str, Any]:
    health, now = mirror.client.health, time.monotonic()
    paused, rate = health.paused_until(now), health.rate_limit(now)
    return {
        "host": mirror.host,
        "url": mirror.config.url,
        "reason": health.reason.value,
        "message": health.message,
        "askedSecondsAgo": None if health.asked is None else round(now - health.asked),
        # Not rounded, so that the controller computes the same time from all answers.
        "retryAfterSeconds": None if paused is None else paused - now,
        "credentials": mirror.client.login.value,
        "rateLimit": {"limit": rate.limit, "remaining": rate.remaining},
    }
