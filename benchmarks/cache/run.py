"""Run all scenes. In each round the engines take turns, because the machine is not equally fast for long."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.cache.figures import CACHE, DISTRIBUTION, LARGE, OPENSSL, SMALL, TAG, Herd, Rate, Run, SmallImages
from benchmarks.cache.load import Task, load
from benchmarks.cache.scenes import LARGE_BYTES, MEGABYTE, SMALL_BLOBS, SMALL_BYTES, Bench, Image
from benchmarks.cache.servers import certificate_in, limit, random_blobs, replicas
from benchmarks.cache.upstream import upstream
from tests.localcluster.node import programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cache.servers import Server

ENGINES: Final = (CACHE, DISTRIBUTION)
REPLICAS: Final = (1, 2)
# The shares of the layers of an image.
LAYERS: Final = (0.4, 0.3, 0.2, 0.1)
# Clients of distribution from which on a herd is measured in the first round only: the bandwidth of the upstream
# decides its time. From LESS_AT clients on it gets a smaller image.
ONCE_AT: Final = 20
LESS_AT: Final = 50
LESS: Final = 0.2
# Clients of the limit of a herd.
LIMIT_CLIENTS: Final = 20
WARM_LARGE: Final = Image("warm/large:1", [LARGE_BYTES])
WARM_SMALL: Final = Image("warm/small:1", [SMALL_BYTES] * SMALL_BLOBS)
SMALL_LAYERS: Final = [SMALL_BYTES, SMALL_BYTES]
# Scenes and numbers of clients of the rates.
RATES: Final = ((LARGE, 1), (LARGE, 8), (SMALL, 8), (TAG, 8), (TAG, 64))


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a run."""

    rounds: int
    megabytes: int
    clients: list[int]
    small_images: int
    seconds: float

    @property
    def image(self) -> Image:
        """Return the image that herds pull."""
        return Image("herd/whole:1", [int(self.megabytes * share * MEGABYTE) for share in LAYERS])

    @property
    def smaller(self) -> Image:
        """Return the image of the largest herds of distribution."""
        return Image("herd/part:1", [int(size * LESS) for size in self.image.layers])

    @property
    def many(self) -> list[str]:
        """Return the names of the small images."""
        return [f"many/image-{number}:1" for number in range(self.small_images)]


def run(plan: Plan) -> Run:
    """Run the plan and print progress to stderr."""
    programs.build(programs.REGISTRY)  # minutes, if the cache of the user lacks it
    found = Run(os.getloadavg()[0], [], [], [])
    images = {each.name: each.layers for each in (plan.image, plan.smaller, WARM_LARGE, WARM_SMALL)}
    images.update(dict.fromkeys(plan.many, SMALL_LAYERS))
    with tempfile.TemporaryDirectory() as folder:
        tls = certificate_in(Path(folder))
        with upstream(tls, images) as running:
            bench = Bench(running, tls)
            for number in range(plan.rounds):
                found.herds.extend(_herds(bench, plan, number))
                found.small.extend(_small_images(bench, plan))
                found.rates.extend(_rates(bench, plan))
    return found


def _herds(bench: Bench, plan: Plan, number: int) -> Iterator[Herd]:
    for clients in plan.clients:
        for count in REPLICAS:
            for engine in ENGINES:
                if engine == DISTRIBUTION and clients >= ONCE_AT and number > 0:
                    continue
                image = plan.smaller if engine == DISTRIBUTION and clients >= LESS_AT else plan.image
                _progress(f"round {number + 1}: {clients} clients, {count} replicas, {engine}")
                yield bench.herd(engine, clients, count, image)
    _progress(f"round {number + 1}: limit of {LIMIT_CLIENTS} clients")
    yield bench.limit_of_herd(LIMIT_CLIENTS, plan.image)


def _small_images(bench: Bench, plan: Plan) -> Iterator[SmallImages]:
    for engine in ENGINES:
        _progress(f"{plan.small_images} small images, {engine}")
        yield bench.small_images(engine, plan.many)


def _rates(bench: Bench, plan: Plan) -> Iterator[Rate]:
    """Run all servers at the same time, and load one of them at a time."""
    blobs = random_blobs(WARM_LARGE.layers)
    with ExitStack() as stack:
        servers = {
            engine: stack.enter_context(replicas(engine, 1, bench.upstream.url, bench.tls)) for engine in ENGINES
        }
        for each in servers.values():
            _fill(bench, each)
        servers[OPENSSL] = stack.enter_context(limit(blobs, bench.tls))
        for scene, clients in RATES:
            for engine, running in servers.items():
                paths = _paths(bench, scene, blobs if engine == OPENSSL else None)
                if paths:
                    _progress(f"{scene}, {clients} clients, {engine}")
                    task = Task(paths=paths, seconds=plan.seconds)
                    yield bench.rate(engine, scene, running, clients, task)


def _fill(bench: Bench, servers: list[Server]) -> None:
    """Pull twice from one address: at the second time the cache verifies the stored blobs, once in ten minutes."""
    names = [WARM_LARGE.name, WARM_SMALL.name]
    load(servers, bench.tls, 1, Task(images=[names * 2], network=3))


def _paths(bench: Bench, scene: str, files: dict[str, bytes] | None) -> list[str]:
    """Return what is asked for in a scene. Files are those of `openssl s_server`, which has the large blob only."""
    if files is not None:
        return [f"/{digest}" for digest in files] if scene == LARGE else []
    if scene == TAG:
        return ["/v2/warm/small/manifests/1"]
    image, least = (WARM_LARGE, LARGE_BYTES) if scene == LARGE else (WARM_SMALL, SMALL_BYTES)
    layers = [digest for digest, size in bench.upstream.blobs[image.name].items() if size >= least]
    return [f"/v2/{image.name.partition(':')[0]}/blobs/{digest}" for digest in layers]


def _progress(step: str) -> None:
    sys.stderr.write(f"benchmarks: {step}\n")
