"""Random faults of the upstream, the replicas and their volumes: nothing wrong is served, and all ends well."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import aiohttp

from cache.content.suspicion import VERIFICATION_PAUSE
from tests.cache.behaviour import Behaviour
from tests.cache.images import has_digest
from tests.cache.program import WRONG_CONTENT
from tests.cache.test_damage import DAMAGES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cache.program import Cache
    from tests.cache.upstream import Registry

SECONDS = float(os.environ.get("CACHE_FAULT_SECONDS", "20"))
SEED = int(os.environ.get("CACHE_FAULT_SEED", time.time_ns()))
CLIENTS = 6
CALM_SECONDS = 60.0
MEMORY_MAX = 256 * 1024 * 1024
UNUSUAL = [
    Behaviour(),
    Behaviour(auth="bearer", token_lifetime=1),
    Behaviour(redirect="other host", auth="bearer"),
    Behaviour(chunked=True, cut_at=400_000),
    Behaviour(cut_at=700_000, has_ranges=False),
    Behaviour(cut_at=900_000, redirect="once"),
    Behaviour(rate=2_000_000),
    Behaviour(latency=1.2),
    Behaviour(digest_header="wrong"),
    Behaviour(digest_header=None, gzip_manifests=True),
    Behaviour(head={"": 405}),
]
# The cache leaves an upstream alone for some seconds after each of these.
BROKEN = [
    Behaviour(wrong_length=1),
    Behaviour(wrong_length=-1, chunked=True),
    Behaviour(html=True),
    Behaviour(status={"": 503}),
    Behaviour(status={"blobs": 500}),
    Behaviour(status={"manifests": 429}, retry_after="2"),
    Behaviour(auth="bearer", status={"token": 429}, retry_after="2"),
    Behaviour(hang=True),
]


class Faults:
    """Choose faults, and clients that ask for anything."""

    def __init__(self, upstream: Registry, caches: list[Cache]) -> None:
        self.dice = random.Random(SEED)  # noqa: S311 (no secret)
        self.upstream, self.caches = upstream, caches
        self.images: list[tuple[str, str, list[str]]] = []
        self.complete = self.incomplete = 0
        self.ended = False

    def push(self) -> None:
        """Add an image."""
        name = f"team/a{len(self.images)}"
        sizes = tuple(self.dice.choice((10, 5000, 300_000, 600_000, 1_500_000)) for _ in range(4))
        self.images.append((name, *self.upstream.push(name, layers=sizes)))

    async def ask(self) -> None:
        """Ask for content until the end. A complete answer must be right."""
        while not self.ended:
            name, manifest, blobs = self.dice.choice(self.images[-8:])
            cache = self.dice.choice(self.caches)
            digest = self.dice.choice([manifest, *blobs])
            path = f"{name}/{'manifests' if digest == manifest else 'blobs'}/{digest}"
            if self.dice.random() < 0.3:
                path, digest = f"{name}/manifests/latest", ""
            try:
                async with asyncio.timeout(self.dice.choice((0.05, 1, 5, 60))):
                    answer = await cache.ask(path)
            except (aiohttp.ClientError, TimeoutError):
                self.incomplete += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status == 200:
                assert has_digest(answer.body, digest or answer.headers["Docker-Content-Digest"])
                self.complete += 1
            else:
                assert answer.status in (401, 404, 429, 500, 502, 503, 504)
                assert b"Internal" not in answer.body, cache.log()

    async def change(self) -> None:
        """Cause one fault."""
        self.push()
        kinds = BROKEN if self.dice.random() < 0.1 else UNUSUAL
        self.upstream.does = dataclasses.replace(self.dice.choice(kinds))
        cache = self.dice.choice(self.caches)
        match self.dice.randrange(8):
            case 0:
                await cache.stop(signal.SIGKILL)
                await cache.start()
            case 1:
                cache.send_signal(signal.SIGSTOP)
                await asyncio.sleep(self.dice.uniform(0, 3))
                cache.send_signal(signal.SIGCONT)
            case 2:
                for path in self.dice.sample(files := cache.files(), min(3, len(files))):
                    with contextlib.suppress(FileNotFoundError):
                        self.dice.choice(list(DAMAGES.values()))(path)
            case _:
                await asyncio.sleep(self.dice.uniform(0, 0.6))


async def test_random_faults(upstream: Registry, make_replicas: Callable[[int], Awaitable[list[Cache]]]) -> None:
    """Each complete answer is right. After the faults each image is pulled from each replica, and nothing is left over.

    `CACHE_FAULT_SEED` repeats a run, `CACHE_FAULT_SECONDS` makes it longer.
    """
    caches = await make_replicas(2)
    faults = Faults(upstream, caches)
    faults.push()
    asking = [asyncio.create_task(faults.ask()) for _ in range(CLIENTS)]
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends and not any(each.done() for each in asking):
        await faults.change()
    faults.ended = True
    upstream.does = Behaviour()
    await asyncio.gather(*asking)
    for cache in caches:
        for name, _, blobs in faults.images:
            await _settled(cache, name, len(blobs))
        assert '"level":"error"' not in cache.log()
        assert cache.memory() < MEMORY_MAX

        async def nothing_is_left(cache: Cache = cache) -> bool:
            return not list((cache.root / "tmp").iterdir()) and cache.open_files(str(cache.root)) == 0

        await cache.until(nothing_is_left)
    print(f"seed {SEED}: {faults.complete} complete answers, {faults.incomplete} cut off")  # noqa: T201
    assert faults.complete > SECONDS


async def _settled(cache: Cache, name: str, attempts: int) -> None:
    """Pull an image. A client may have to refuse each damaged blob once, and wait for the end of a pause.

    A blob that was verified before its damage is verified again after a pause, so it may be refused twice.
    """
    deadline = time.monotonic() + CALM_SECONDS
    refusals: list[str] = []
    while True:
        try:
            await cache.pull(name)
            return
        except aiohttp.ClientError as error:
            refusals.append(repr(error))
        except AssertionError as error:
            if str(error) == WRONG_CONTENT:
                refusals.append(str(error))
            await asyncio.sleep(VERIFICATION_PAUSE if len(refusals) > attempts else 0.2)
        assert len(refusals) <= 2 * attempts, (SEED, refusals, cache.log())
        assert time.monotonic() < deadline, (SEED, cache.log())
