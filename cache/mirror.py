"""Put together what serves each upstream of the configuration."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache.content.blobs import BlobService
from cache.content.manifests import ManifestService
from cache.content.pages import PageService
from cache.upstream.client import UpstreamClient
from cache.upstream.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp
    from prometheus_client import Counter

    from cache.config import UpstreamConfig
    from cache.content.download import Downloads
    from cache.metrics import Metrics
    from cache.replicas.peers import Peers
    from cache.store.store import FileStore
    from common.proxies import Proxies

# Clients that are remembered: more than the nodes of the largest clusters.
_CLIENTS_MAX = 20_000


@dataclass(slots=True)
class Mirror:
    """Everything that serves one upstream."""

    config: UpstreamConfig
    client: UpstreamClient
    manifests: ManifestService
    blobs: BlobService
    pages: PageService
    served_bytes: Counter
    count_repositories: bool = False
    # When each client address asked last, in seconds since the epoch.
    clients: dict[str, float] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Return the host of image names."""
        return self.config.host

    def note_client(self, address: str) -> None:
        """Remember that a client asked."""
        if len(self.clients) >= _CLIENTS_MAX:
            self.clients.clear()
        self.clients[address] = time.time()

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await self.manifests.stop()
        await self.pages.stop()


@dataclass(frozen=True, slots=True)
class Mirrors:
    """The upstreams by host; the first one serves requests that name none."""

    by_host: dict[str, Mirror]

    def of(self, host: str | None) -> Mirror | None:
        """Return what serves a host; None if the configuration does not have it."""
        return next(iter(self.by_host.values()), None) if host is None else self.by_host.get(host)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that all upstreams share."""

    store: FileStore
    downloads: Downloads
    metrics: Metrics
    proxies: Proxies
    check_space: Callable[[], None]


def mirror_of(config: UpstreamConfig, parts: Parts, session: aiohttp.ClientSession, peers: Peers) -> Mirror:
    """Return what serves one upstream."""
    client = UpstreamClient(config, session, parts.proxies, Credentials(config.credentials))
    area, metrics = config.directory, parts.metrics

    def received(source: str, size: int) -> None:
        metrics.received_bytes.labels(config.host, "upstream" if source == "upstream" else "peer").inc(size)

    return Mirror(
        config=config,
        client=client,
        manifests=ManifestService(area, config.host, client, parts.store, peers),
        blobs=BlobService(area, config.host, client, parts.store, peers, parts.downloads, received, parts.check_space),
        pages=PageService(area, client, parts.store),
        served_bytes=metrics.served_bytes.labels(config.host),
    )
