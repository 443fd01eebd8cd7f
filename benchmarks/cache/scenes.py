"""Measure one server in one scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import usage
from benchmarks.cache.figures import OPENSSL, Herd, Rate, SmallImages
from benchmarks.cache.load import Task, load
from benchmarks.cache.servers import Server, Tls, limit, random_blobs, replicas

if TYPE_CHECKING:
    from benchmarks.cache.upstream import Upstream

MEGABYTE: Final = 1_000_000
LARGE_BYTES: Final = 60 * MEGABYTE
SMALL_BYTES: Final = 50_000
SMALL_BLOBS: Final = 20
# Clients that pull the small images.
PULLERS: Final = 8


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the upstream."""

    name: str  # with tag
    layers: list[int]

    @property
    def size(self) -> int:
        """Return the bytes of all layers."""
        return sum(self.layers)


@dataclass(frozen=True, slots=True)
class Bench:
    """The upstream, and the certificate of all servers."""

    upstream: Upstream
    tls: Tls

    def herd(self, engine: str, clients: int, count: int, image: Image) -> Herd:
        """Start empty replicas and let clients pull an image at the same moment."""
        with replicas(engine, count, self.upstream.url, self.tls) as servers:
            idle = max(usage.resident_mib(each.pid) for each in servers)
            self.upstream.reset()
            before = usage.cpu_seconds(self.upstream.pid)
            loaded = load(servers, self.tls, clients, Task(images=[[image.name]]))
            counts = self.upstream.counts()
            size = sum(self.upstream.blobs[image.name].values())
            return Herd(
                engine,
                clients,
                count,
                size / MEGABYTE,
                loaded.seconds,
                loaded.first_byte,
                counts.blob_bytes / size,
                counts.most_per_blob,
                counts.most_per_manifest,
                counts.request_count,
                loaded.cpu_seconds / loaded.size * 1e9,
                idle,
                max(usage.peak_mib(each.pid) for each in servers),
                usage.cpu_seconds(self.upstream.pid) - before,
            )

    def limit_of_herd(self, clients: int, image: Image) -> Herd:
        """Let clients get the same bytes from `openssl s_server`, without an upstream."""
        blobs = random_blobs(image.layers)
        with limit(blobs, self.tls) as servers:
            loaded = load(servers, self.tls, clients, Task(blobs=[f"/{digest}" for digest in blobs]))
            size, cpu = image.size / MEGABYTE, loaded.cpu_seconds / loaded.size * 1e9
            return Herd(OPENSSL, clients, 1, size, loaded.seconds, loaded.first_byte, 0, 0, 0, 0, cpu, 0, 0, 0)

    def small_images(self, engine: str, images: list[str]) -> SmallImages:
        """Let clients pull many images, each by one of them, and then by another one."""
        shares = [images[number::PULLERS] for number in range(PULLERS)]
        with replicas(engine, 1, self.upstream.url, self.tls) as servers:
            self.upstream.reset()
            cold = load(servers, self.tls, PULLERS, Task(images=shares))
            requests = self.upstream.counts().request_count
            warm = load(servers, self.tls, PULLERS, Task(images=shares, network=2))
            return SmallImages(
                engine, len(images), cold.seconds, warm.seconds, cold.cpu_seconds, warm.cpu_seconds, requests
            )

    def rate(self, engine: str, scene: str, servers: list[Server], clients: int, task: Task) -> Rate:
        """Let clients ask running servers for stored content."""
        loaded = load(servers, self.tls, clients, task)
        return Rate(
            engine,
            scene,
            clients,
            loaded.requests / loaded.seconds,
            loaded.size / MEGABYTE / loaded.seconds,
            loaded.cpu_seconds / loaded.size * 1e9,
            loaded.cpu_seconds / loaded.requests * 1000,
        )
