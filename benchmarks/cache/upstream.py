"""Serve the upstream of the caches in a process of its own: `python -m benchmarks.cache.upstream`.

It is the upstream of the tests with bearer tokens, redirects of blobs to another port, latency and a limited bandwidth.
It reads its settings as one line of JSON, prints its URL and its blobs, and counts what it sends.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from tests.cache.upstream import Registry, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.cache.servers import Tls

LATENCY: Final = 0.03  # seconds before each answer
BYTES_PER_SECOND: Final = 50_000_000  # for all clients together
TOKEN_SECONDS: Final = 300  # as Docker Hub's
# Distribution does not understand two challenges in a header, which the tests send.
CHALLENGE: Final = 'Bearer realm="{realm}",service="upstream"'
# The counts are read and reset here, without latency.
COUNTS: Final = "/counts"


@dataclass(frozen=True, slots=True)
class Counts:
    """Bytes of blobs, the most transfers of one blob and GETs of one manifest, and requests by kind."""

    blob_bytes: int
    most_per_blob: float
    most_per_manifest: int
    requests: dict[str, int]

    @property
    def request_count(self) -> int:
        """Return the number of all requests."""
        return sum(self.requests.values())


@dataclass(frozen=True, slots=True)
class Upstream:
    """The running upstream. `blobs` has the size of each blob of an image by its digest."""

    pid: int
    url: str
    blobs: dict[str, dict[str, int]]
    ca: str

    def counts(self) -> Counts:
        """Return the counts since the last reset."""
        return Counts(**json.loads(self._ask("GET")))

    def reset(self) -> None:
        """Set all counts to zero."""
        self._ask("DELETE")

    def _ask(self, method: str) -> bytes:
        request = urllib.request.Request(f"{self.url}{COUNTS}", method=method)  # noqa: S310 (always https)
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(request, context=context) as response:  # noqa: S310
            content: bytes = response.read()
        return content


@contextmanager
def upstream(tls: Tls, images: dict[str, list[int]]) -> Iterator[Upstream]:
    """Serve images meanwhile, each given by `name:tag` and the sizes of its layers."""
    settings = json.dumps({"tls": asdict(tls), "images": images})
    command = [sys.executable, "-m", "benchmarks.cache.upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None  # noqa: S101 (for mypy)
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(f"{settings}\n")
            process.stdin.flush()
            started = json.loads(process.stdout.readline())
            yield Upstream(process.pid, started["url"], started["blobs"], tls.ca)
        finally:
            process.kill()


class _Counting:
    """The registry, and its counts at a path of its own."""

    def __init__(self, images: dict[str, list[int]]) -> None:
        self.registry = Registry()
        does = self.registry.does
        does.auth, does.redirect, does.token_lifetime = "bearer", "other host", TOKEN_SECONDS
        does.challenges = (CHALLENGE,)
        does.latency, does.rate = LATENCY, float(BYTES_PER_SECOND)
        self.blobs = {image: self._push(image, layers) for image, layers in images.items()}

    def _push(self, image: str, layers: list[int]) -> dict[str, int]:
        name, _, tag = image.partition(":")
        _, digests = self.registry.push(name, tag, tuple(layers))
        return {digest: len(self.registry.blobs[digest]) for digest in digests}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        if request.path != COUNTS:
            return await self.registry.handle(request)
        if request.method == "DELETE":
            self.registry.forget()
            return web.Response()
        return web.json_response(asdict(self._counts()))

    def _counts(self) -> Counts:
        registry = self.registry
        shares = [size / len(registry.blobs[digest]) for digest, size in registry.sent_blobs.items()]
        manifests = Counter(path for method, path in registry.requests if method == "GET" and "/manifests/" in path)
        kinds = Counter(f"{method} {_kind(path)}" for method, path in registry.requests)
        return Counts(registry.sent, max(shares, default=0.0), max(manifests.values(), default=0), dict(kinds))


def _kind(path: str) -> str:
    known = ("manifests", "blobs", "signed", "token")
    return next((kind for kind in known if f"/{kind}/" in f"{path}/"), "other")


async def _serve(tls: dict[str, str], images: dict[str, list[int]]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["certificate"], tls["key"])
    counting = _Counting(images)
    async with listening(counting.handle, context) as port, listening(counting.handle, context) as other:
        counting.registry.url = f"https://localhost:{port}"
        counting.registry.other_url = f"https://localhost:{other}"
        print(json.dumps({"url": counting.registry.url, "blobs": counting.blobs}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is killed."""
    settings = json.loads(sys.stdin.readline())
    uvloop.run(_serve(settings["tls"], settings["images"]))


if __name__ == "__main__":
    main()
