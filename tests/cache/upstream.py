"""Serve a registry over TLS in the test's own event loop, count what it sends, and fail on request."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tests.cache.behaviour import BASIC, BEARER, Behaviour
from tests.cache.images import INDEX, Images, digest_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


class Registry(Images):
    """A registry with images, and what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.does = Behaviour()
        self.requests: list[tuple[str, str]] = []
        self.logins: list[str] = []
        self.sent = 0
        self.offsets: list[int] = []  # where each transfer of a blob began
        self.sent_blobs: dict[str, int] = {}  # bytes
        self.transfers = self.most_transfers = 0  # of blobs, at the same time
        self.sent_manifests: dict[str, int] = {}  # answers to GET
        self.tokens: dict[str, tuple[str, float]] = {}  # scope and end
        self.token_requests = 0
        self.url = ""
        self.other_url = ""
        self._signatures: set[str] = set()
        self._free_at = 0.0

    def forget(self) -> None:
        """Set all counts to zero."""
        self.sent = self.token_requests = 0
        for each in (self.requests, self.logins, self.offsets, self.sent_blobs, self.sent_manifests):
            each.clear()

    def count(self, method: str = "", part: str = "") -> int:
        """Return the number of requests with a method and a part of the path."""
        return sum((not method or each[0] == method) and part in each[1] for each in self.requests)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append((request.method, request.path))
        does = self.does
        if does.hang:
            await asyncio.sleep(3600)
        await asyncio.sleep(does.latency)
        if request.path == "/token":
            return self._token(request)
        kind = next((each for each in ("manifests", "blobs", "referrers", "tags") if f"/{each}/" in request.path), "")
        if (broken := self._broken(request, kind)) is not None:
            return broken
        if request.path.startswith("/signed/"):
            return await self._signed(request)
        if not self._is_allowed(request):
            return self._challenge(request)
        if request.path == "/v2/":
            return web.json_response({})
        return await self._content(request, kind)

    def _broken(self, request: web.BaseRequest, kind: str) -> web.Response | None:
        """Return the answer of an upstream that does not work; None if it does."""
        if self.does.status_of(kind) != 200:
            return self._refused(kind)
        if self.does.moved and request.path != "/page":
            return web.Response(status=301, headers={"Location": f"{self.other_url}/page"})
        if self.does.html or self.does.moved:
            return web.Response(text="<html>please log in</html>", content_type="text/html")
        if self.does.healthy:
            return web.json_response({"status": "UP"})
        return None

    def _refused(self, kind: str) -> web.Response:
        headers = {"Retry-After": self.does.retry_after} if self.does.retry_after else {}
        return web.json_response({"errors": [{"code": "X"}]}, status=self.does.status_of(kind), headers=headers)

    async def _content(self, request: web.BaseRequest, kind: str) -> web.StreamResponse:  # noqa: PLR0911 (one per kind)
        name, reference = request.path.removeprefix("/v2/").split(f"/{kind}/")
        if name in self.does.refused:
            return web.Response(status=self.does.refused[name])
        if request.method == "HEAD" and (status := self.does.status_of_head(kind)) != 200:
            return web.Response(status=status)
        if kind == "manifests":
            return self._manifest(request, self.tags.get((name, reference), reference))
        if kind == "blobs" and self.does.redirect:
            return self._redirected(reference)
        if kind == "blobs":
            return await self._blob(request, reference)
        if kind == "referrers" and reference in self.referrers:
            return web.json_response(self.referrers[reference], content_type=INDEX)
        if kind == "tags":
            return self._page_of_tags(request, name)
        return web.json_response({"errors": []}, status=404)

    def _page_of_tags(self, request: web.BaseRequest, name: str) -> web.Response:
        """Return one page, and a link to the next one as distribution writes it."""
        tags = [tag for of, tag in self.tags if of == name and tag > request.query.get("last", "")]
        page = tags[: int(request.query.get("n", len(tags)))]
        link = f'</v2/{name}/tags/list?last={page[-1]}&n={len(page)}>; rel="next"' if page != tags else ""
        return web.json_response({"name": name, "tags": page or None}, headers={"Link": link} if link else {})

    def _manifest(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        if digest not in self.manifests:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        content, media_type = self.manifests[digest]
        headers = {"Content-Type": media_type}
        if self.does.remaining is not None:
            headers |= {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": f"{self.does.remaining};w=21600"}
        if self.does.digest_header:
            right = self.does.digest_header == "right"
            headers["Docker-Content-Digest"] = digest if right else digest_of(b"another")
        if self.does.gzip_manifests:
            content, headers["Content-Encoding"] = gzip.compress(content), "gzip"
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(content))})
        self.sent_manifests[digest] = self.sent_manifests.get(digest, 0) + 1
        return web.Response(body=content, headers=headers)

    def _redirected(self, digest: str) -> web.StreamResponse:
        signature = os.urandom(8).hex()
        self._signatures.add(signature)
        target = {
            "other host": f"{self.other_url}/signed/{digest}?signature={signature}",
            "relative": f"/signed/{digest}?signature={signature}",
            "once": f"{self.other_url}/signed/{digest}?signature={signature}",
            "loop": f"/v2/a/blobs/{digest}",
            "downgrade": f"http://127.0.0.1:1/signed/{digest}",
            "expired": f"{self.other_url}/signed/{digest}?signature=expired",
        }[str(self.does.redirect)]
        return web.Response(status=self.does.redirect_status, headers={"Location": target})

    async def _signed(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as object storage does: it refuses an Authorization header beside a signature."""
        signature = request.query.get("signature", "")
        if "Authorization" in request.headers or signature not in self._signatures:
            return web.Response(status=400 if "Authorization" in request.headers else 403)
        if self.does.redirect == "once":
            self._signatures.discard(signature)
        return await self._blob(request, request.path.rpartition("/")[2])

    async def _blob(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        does, content = self.does, self.blobs.get(digest)
        if content is None:
            return web.json_response({"errors": [{"code": "BLOB_UNKNOWN"}]}, status=404)
        content = self._with_wrong_length(content)
        start, status, headers = 0, 200, {"Content-Type": "application/octet-stream"}
        if does.has_ranges and (asked := request.headers.get("Range")):
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(content):
                return web.Response(status=416)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if does.gzip_blobs:
            content, headers["Content-Encoding"] = gzip.compress(content), "gzip"
        if not does.chunked:
            headers["Content-Length"] = str(len(content) - start)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if request.method == "GET":
            self.offsets.append(start)
            with self._transferring():
                await self._send(request, response, content[start:], digest)
            if self.does.never_ends and request.transport is not None:
                request.transport.close()
        return response

    @contextmanager
    def _transferring(self) -> Iterator[None]:
        self.transfers += 1
        self.most_transfers = max(self.transfers, self.most_transfers)
        try:
            yield
        finally:
            self.transfers -= 1

    def _with_wrong_length(self, content: bytes) -> bytes:
        length = self.does.wrong_length
        return content + os.urandom(length) if length > 0 else content[: len(content) + length]

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, content: bytes, digest: str) -> None:
        size, rate = self.does.piece, self.does.rate
        for offset in range(0, len(content), size):
            piece = content[offset : offset + size]
            if self.does.cut_at is not None and offset + len(piece) > self.does.cut_at:
                self.does.cut_at = None
                if request.transport is not None:
                    request.transport.abort()
                return
            if self.does.stall_at is not None and offset + len(piece) > self.does.stall_at:
                self.does.stall_at = None
                await asyncio.sleep(3600)
            if self.does.garbage_at is not None and offset + len(piece) > self.does.garbage_at:
                self.does.garbage_at = None
                await asyncio.sleep(self.does.garbage_delay)
                if request.transport is not None:
                    request.transport.write(b"no size of a chunk\r\n")
                await asyncio.sleep(3600)
            await self._wait(len(piece), rate)
            self.sent += len(piece)
            self.sent_blobs[digest] = self.sent_blobs.get(digest, 0) + len(piece)
            await response.write(piece)

    async def _wait(self, size: int, rate: float | None) -> None:
        if rate:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / rate
            await asyncio.sleep(self._free_at - now)

    def _is_allowed(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization", "")
        if self.does.auth == "basic":
            return self._is_account(given)
        if self.does.auth == "bearer":
            scope, end = self.tokens.get(given.removeprefix("Bearer "), ("", 0.0))
            return end > time.monotonic() and scope == _scope_of(request)
        return True

    def _challenge(self, request: web.BaseRequest) -> web.Response:
        host = self.other_url if self.does.foreign_realm else self.url
        realm = f"{host}/token{'?tenant=7' if self.does.realm_query else ''}"
        usual = (BASIC if self.does.auth == "basic" else BEARER,)
        response = web.Response(status=401)
        for each in self.does.challenges or usual:
            response.headers.add("WWW-Authenticate", each.format(realm=realm, scope=_scope_of(request)))
        return response

    def _is_account(self, given: str) -> bool:
        self.logins.append(given)
        return given in [basic(each) for each in self.does.accounts]

    def _token(self, request: web.BaseRequest) -> web.Response:
        self.token_requests += "scope" in request.query  # a probe names no image
        does, given = self.does, request.headers.get("Authorization")
        if does.status_of("token") != 200:
            return self._refused("token")
        if does.realm_query and request.query.get("tenant") != "7":
            return web.Response(status=400)
        if given is not None and not self._is_account(given):
            return web.Response(status=401)
        token = os.urandom(8).hex()
        self.tokens[token] = (request.query.get("scope", ""), time.monotonic() + does.token_lifetime)
        lifetime = {"expires_in": does.token_lifetime} if does.names_lifetime else {}
        return web.json_response({does.token_key: token, **lifetime})


def basic(account: bytes) -> str:
    """Return the Authorization header of an account."""
    return f"Basic {base64.b64encode(account).decode()}"


def _scope_of(request: web.BaseRequest) -> str:
    """Return the scope that a request needs."""
    name = request.path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
    return f"repository:{name}:pull" if name else ""


@asynccontextmanager
async def listening(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], context: ssl.SSLContext | None, port: int = 0
) -> AsyncIterator[int]:
    """Serve on a port of 127.0.0.1 meanwhile, by default a free one, and yield the port."""
    server = web.Server(handle, access_log=None, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, ssl=context, backlog=512)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for each in server.connections:  # a client that stays would delay the end of TLS
            if each.transport is not None:
                each.transport.abort()
        await server.shutdown(0.1)
