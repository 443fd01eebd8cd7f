"""Serve a registry over TLS in the test's own event loop, count what it sends, and fail on request."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from common.types import Json

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PIECE = 64 * 1024


@dataclass
class Behaviour:
    """The ways in which the upstream answers. The defaults are those of a registry without login."""

    status: dict[str, int] = field(default_factory=dict)  # by kind: "manifests", "blobs", "token"; "" for all
    retry_after: str | None = None
    hang: bool = False  # accept and never answer
    has_head: bool = True
    digest_header: str | None = "right"  # "right", "wrong" or None
    chunked: bool = False
    has_ranges: bool = True
    html: bool = False
    gzip_manifests: bool = False
    cut_at: int | None = None  # close the connection after so many bytes of a blob, once
    wrong_length: int = 0  # bytes to add (random) or take away at the end of a blob
    redirect: str | None = None  # "other host", "relative", "loop", "downgrade"
    auth: str | None = None  # "bearer", "basic"
    realm_query: bool = False
    token_lifetime: int = 60
    password: bytes = b"secret"
    rate: float | None = None  # bytes per second, for all clients together
    latency: float = 0.0


class Registry:
    """A registry with images, and what was asked of it."""

    def __init__(self) -> None:
        self.does = Behaviour()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.referrers: dict[str, Json] = {}
        self.requests: list[tuple[str, str]] = []
        self.authorized: list[str | None] = []
        self.sent = 0
        self.offsets: list[int] = []  # where each transfer of a blob began
        self.sent_blobs: dict[str, int] = {}
        self.tokens: dict[str, float] = {}
        self.token_requests = 0
        self.url = ""
        self.other_url = ""
        self._free_at = 0.0

    def push(self, name: str, tag: str = "latest", layers: tuple[int, ...] = (1000,)) -> tuple[str, list[str]]:
        """Add an image with layers of random bytes; return the digest of its manifest and those of its blobs."""
        contents = [json.dumps({"name": name, "tag": tag}).encode(), *map(os.urandom, layers)]
        digests = [self.add_blob(each) for each in contents]
        described = [{"mediaType": "x", "digest": d, "size": len(c)} for d, c in zip(digests, contents, strict=True)]
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        digest = self.add_manifest(json.dumps(document).encode(), MANIFEST)
        self.tags[name, tag] = digest
        return digest, digests

    def add_blob(self, content: bytes) -> str:
        """Add a blob and return its digest."""
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def add_manifest(self, content: bytes, media_type: str) -> str:
        """Add a manifest and return its digest."""
        digest = digest_of(content)
        self.manifests[digest] = (content, media_type)
        return digest

    def count(self, method: str = "", part: str = "") -> int:
        """Return the number of requests with a method and a part of the path."""
        return sum((not method or each[0] == method) and part in each[1] for each in self.requests)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:  # noqa: PLR0911 (one per fault)
        """Answer one request."""
        self.requests.append((request.method, request.path))
        does = self.does
        if does.hang:
            await asyncio.sleep(3600)
        await asyncio.sleep(does.latency)
        if request.path == "/token":
            return self._token(request)
        kind = next((each for each in ("manifests", "blobs", "referrers", "tags") if f"/{each}/" in request.path), "")
        status = does.status.get(kind, does.status.get("", 200))
        if status != 200:
            headers = {"Retry-After": does.retry_after} if does.retry_after else {}
            return web.json_response({"errors": [{"code": "X"}]}, status=status, headers=headers)
        if does.html:
            return web.Response(text="<html>please log in</html>", content_type="text/html")
        if request.path.startswith("/signed/"):
            return await self._signed(request)
        self.authorized.append(request.headers.get("Authorization"))
        refused = self._login(request)
        if refused is not None:
            return refused
        if request.path == "/v2/":
            return web.json_response({})
        return await self._content(request, kind)

    async def _content(self, request: web.BaseRequest, kind: str) -> web.StreamResponse:  # noqa: PLR0911 (one per kind)
        name, reference = request.path.removeprefix("/v2/").split(f"/{kind}/")
        if request.method == "HEAD" and not self.does.has_head:
            return web.Response(status=405)
        if kind == "manifests":
            return self._manifest(request, self.tags.get((name, reference), reference))
        if kind == "blobs" and self.does.redirect:
            return self._redirected(reference)
        if kind == "blobs":
            return await self._blob(request, reference)
        if kind == "referrers" and reference in self.referrers:
            return web.json_response(self.referrers[reference], content_type=INDEX)
        if kind == "tags":
            return web.json_response({"name": name, "tags": [tag for of, tag in self.tags if of == name]})
        return web.json_response({"errors": []}, status=404)

    def _manifest(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        if digest not in self.manifests:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        content, media_type = self.manifests[digest]
        headers = {"Content-Type": media_type}
        if self.does.digest_header:
            right = self.does.digest_header == "right"
            headers["Docker-Content-Digest"] = digest if right else digest_of(b"another")
        if self.does.gzip_manifests:
            content, headers["Content-Encoding"] = gzip.compress(content), "gzip"
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(content))})
        return web.Response(body=content, headers=headers)

    def _redirected(self, digest: str) -> web.StreamResponse:
        target = {
            "other host": f"{self.other_url}/signed/{digest}?signature=1",
            "relative": f"/signed/{digest}?signature=1",
            "loop": f"/v2/a/blobs/{digest}",
            "downgrade": f"http://127.0.0.1:1/signed/{digest}",
            "expired": f"{self.other_url}/signed/{digest}?signature=0",
        }[str(self.does.redirect)]
        return web.Response(status=307, headers={"Location": target})

    async def _signed(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as object storage does: it refuses an Authorization header beside a signature."""
        if "Authorization" in request.headers or request.query.get("signature") != "1":
            return web.Response(status=400 if "Authorization" in request.headers else 403)
        return await self._blob(request, request.path.rpartition("/")[2])

    async def _blob(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        does, content = self.does, self.blobs.get(digest)
        if content is None:
            return web.json_response({"errors": [{"code": "BLOB_UNKNOWN"}]}, status=404)
        if does.wrong_length > 0:
            content += os.urandom(does.wrong_length)
        elif does.wrong_length < 0:
            content = content[: does.wrong_length]
        start, status, headers = 0, 200, {"Content-Type": "application/octet-stream"}
        if does.has_ranges and (asked := request.headers.get("Range")):
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if not does.chunked:
            headers["Content-Length"] = str(len(content) - start)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if request.method == "GET":
            self.offsets.append(start)
            await self._send(request, response, content[start:], digest)
        return response

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, content: bytes, digest: str) -> None:
        for offset in range(0, len(content), PIECE):
            piece = content[offset : offset + PIECE]
            if self.does.cut_at is not None and offset + len(piece) > self.does.cut_at:
                self.does.cut_at = None
                if request.transport is not None:
                    request.transport.abort()
                return
            await self._wait(len(piece))
            self.sent += len(piece)
            self.sent_blobs[digest] = self.sent_blobs.get(digest, 0) + len(piece)
            await response.write(piece)

    async def _wait(self, size: int) -> None:
        if self.does.rate:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.does.rate
            await asyncio.sleep(self._free_at - now)

    def _login(self, request: web.BaseRequest) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if self.does.auth == "basic":
            if given == self.basic():
                return None
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if self.does.auth == "bearer":
            if self.tokens.get(given.removeprefix("Bearer "), 0.0) > time.monotonic():
                return None
            realm = f"{self.url}/token{'?tenant=7' if self.does.realm_query else ''}"
            challenge = f'Basic realm="other", Bearer realm="{realm}",service="test, with comma"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return None

    def basic(self) -> str:
        """Return the header of the account."""
        return "Basic " + base64.b64encode(b"robot:" + self.does.password).decode()

    def _token(self, request: web.BaseRequest) -> web.Response:
        self.token_requests += "scope" in request.query  # a probe names no image
        if status := self.does.status.get("token"):
            headers = {"Retry-After": self.does.retry_after} if self.does.retry_after else {}
            return web.Response(status=status, headers=headers)
        if self.does.realm_query and request.query.get("tenant") != "7":
            return web.Response(status=400)
        if request.headers.get("Authorization", self.basic()) != self.basic():
            return web.Response(status=401)
        token = os.urandom(8).hex()
        self.tokens[token] = time.monotonic() + self.does.token_lifetime
        return web.json_response({"token": token, "expires_in": self.does.token_lifetime})


def digest_of(content: bytes) -> str:
    """Return the SHA-256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@asynccontextmanager
async def listening(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], context: ssl.SSLContext
) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1 meanwhile, and yield the port."""
    server = web.Server(handle, access_log=None, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context, backlog=512)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(0.1)
