"""Put together what serves each upstream of the configuration."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache.content.blobs import BlobService
from cache.content.manifest_sources import ManifestSources
from cache.content.manifests import ManifestService
from cache.content.pages import PageService
from cache.metrics import Metrics, client_of
from cache.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cache.config import UpstreamConfig
    from cache.content.download import Downloads
    from cache.model.reference import Request
    from cache.replicas.peers import Peers
    from cache.store.file_store import FileStore
    from cache.upstream.credentials import Credentials
    from cache.upstream.proxies import Proxies
    from cache.upstream.session import Session
    from cache.upstream.tokens import LoginMemory


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that all upstreams share."""

    store: FileStore
    downloads: Downloads
    metrics: Metrics
    proxies: Proxies
    session: Session
    peers: Peers
    logins: LoginMemory
    check_space: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mirror:
    """Everything that serves one upstream."""

    config: UpstreamConfig
    client: UpstreamClient
    manifests: ManifestService
    blobs: BlobService
    pages: PageService
    served: Callable[[Request, int], None]  # counts bytes of bodies

    @property
    def host(self) -> str:
        """Return the host of image names."""
        return self.config.host

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await self.manifests.stop()
        await self.pages.stop()
        await self.blobs.stop()


@dataclass(slots=True)
class Mirrors:
    """The upstreams by host; the first one serves requests that name none."""

    parts: Parts
    by_host: dict[str, Mirror] = field(default_factory=dict)

    def of(self, host: str | None) -> Mirror | None:
        """Return what serves a host; None if the configuration does not have it."""
        if host is None:
            return next(iter(self.by_host.values()), None)
        spelled = (each for each in self.by_host.values() if host in each.config.image_hosts)
        return self.by_host.get(host) or next(spelled, None)

    async def follow(self, upstreams: Mapping[UpstreamConfig, Credentials]) -> None:
        """Serve these upstreams. Those that did not change keep their state, and the files of others are removed."""
        old = self.by_host
        kept = {each.host: old[each.host] for each in upstreams if each.host in old and old[each.host].config == each}
        self.by_host = {each.host: kept.get(each.host) or _mirror_of(each, self.parts) for each in upstreams}
        self.follow_credentials(upstreams)
        for host, mirror in old.items():
            if host not in kept:
                await mirror.stop()
        await asyncio.to_thread(self.parts.store.retain, [each.directory for each in upstreams])

    def follow_credentials(self, upstreams: Mapping[UpstreamConfig, Credentials]) -> None:
        """Use the credentials of each upstream for new requests. No other upstream gets them."""
        for mirror in self.by_host.values():
            if mirror.config in upstreams:
                mirror.client.follow_credentials(upstreams[mirror.config])

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await asyncio.gather(*(each.stop() for each in self.by_host.values()))


def _mirror_of(config: UpstreamConfig, parts: Parts) -> Mirror:
    client = UpstreamClient(config, parts.session, parts.proxies, memory=parts.logins)
    area, metrics = config.directory, parts.metrics
    metrics.prepare(config.host)

    def received(source: str, size: int) -> None:
        metrics.received_bytes.labels(config.host, source).inc(size)

    def served(asked: Request, size: int) -> None:
        metrics.served_bytes.labels(config.host, client_of(asked)).inc(size)

    return Mirror(
        config=config,
        client=client,
        manifests=ManifestService(ManifestSources(area, config.host, client, parts.store, parts.peers)),
        blobs=BlobService(
            area, config.host, client, parts.store, parts.peers, parts.downloads, received, parts.check_space
        ),
        pages=PageService(area, client, parts.store),
        served=served,
    )
