"""Answer the requests of clients and replicas for manifests, blobs, referrers and tags."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from cache.model.errors import NOT_ALLOWED, NOT_FOUND, RegistryError
from cache.model.manifest import INDEXES
from cache.model.reference import API_VERSION, DIGEST_HEADER, Kind, Request, parse_path, split_host
from cache.model.results import Result
from cache.replicas.peers import HOP_HEADER
from cache.server.blob_response import BlobResponse
from cache.server.body_writer import send_content
from cache.server.listener import client_address
from common.agent_protocol import NODE_HEADER

if TYPE_CHECKING:
    from cache.clients import Clients
    from cache.metrics import Metrics
    from cache.mirror import Mirror, Mirrors
    from cache.model.reference import Reference
    from common.logs import Logger


@dataclass(frozen=True, slots=True)
class RegistryServer:
    """The handlers of the registry API."""

    mirrors: Mirrors
    metrics: Metrics
    clients: Clients
    log: Logger

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._route(request)
        except RegistryError as error:
            return _refusal(error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            self.log.exception("request failed", path=request.path[:200])
            return _refusal(RegistryError(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error of the cache."))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise RegistryError(NOT_ALLOWED, "The cache is read-only.", "UNSUPPORTED")
        path = request.rel_url.raw_path
        if path in ("/v2/", "/v2"):
            if node := request.headers.get(NODE_HEADER):
                self.clients.note_agent(client_address(request), node, time.monotonic())
            return web.Response(body=b"{}", content_type="application/json", headers=API_VERSION)
        mirror, reference, is_named = self._resource(request, path)
        asked = Request(
            reference,
            is_hop=HOP_HEADER in request.headers,
            only_if_cached="only-if-cached" in request.headers.get("Cache-Control", ""),
        )
        began = time.monotonic()
        try:
            response, result = await self._serve(request, mirror, asked)
        except RegistryError:
            self.metrics.count(mirror.host, asked, Result.REFUSED)
            raise
        self.metrics.count(mirror.host, asked, result)
        if not asked.is_hop:
            self.metrics.duration.labels(mirror.host, reference.kind.value).observe(time.monotonic() - began)
            if is_named:  # as runtimes ask for another registry's images
                self.clients.note_pull(client_address(request), time.monotonic())
        return response

    def _resource(self, request: web.BaseRequest, path: str) -> tuple[Mirror, Reference, bool]:
        """Return the upstream, the resource there, and True if the request names the upstream.

        `ns` chooses the upstream. Without it the first component of the repository does, if it is a host of the
        mirror. It is then no part of the repository.
        """
        hosts = request.query.getall("ns", [])
        if not hosts and (parts := split_host(path)) and (mirror := self.mirrors.of(parts[0])):
            return mirror, parse_path(parts[1]), True
        reference = parse_path(path)
        chosen = self.mirrors.of(hosts[0] if hosts else None) if len(hosts) < 2 else None  # noqa: PLR2004
        if chosen is None:
            raise RegistryError(NOT_FOUND, "The cache does not serve this registry.", "NAME_UNKNOWN")
        return chosen, reference, bool(hosts)

    async def _serve(
        self, request: web.BaseRequest, mirror: Mirror, asked: Request
    ) -> tuple[web.StreamResponse, Result]:
        reference = asked.reference
        match reference.kind:
            case Kind.MANIFEST:
                return await self._manifest(request, mirror, asked)
            case Kind.BLOB if reference.digest is not None:
                return await BlobResponse(request, mirror, asked, reference.digest, client_address(request)).send()
            case _:
                page = await mirror.pages.get(asked, request.query)
                mirror.served(asked, len(page.content))
                headers = {**API_VERSION, **page.headers}
                if link := headers.get("Link"):
                    headers["Link"] = _as_asked(link, request, reference)
                return await send_content(request, page.content, headers), page.result

    async def _manifest(
        self, request: web.BaseRequest, mirror: Mirror, asked: Request
    ) -> tuple[web.StreamResponse, Result]:
        is_head = request.method == "HEAD"
        answer = await (mirror.manifests.head(asked) if is_head else mirror.manifests.get(asked))
        head = answer.head
        headers = {**API_VERSION, DIGEST_HEADER: str(head.digest), "Content-Type": head.media_type}
        if is_head or answer.manifest is None:
            return web.Response(headers={**headers, "Content-Length": str(head.size)}), answer.result
        mirror.served(asked, head.size)
        if not asked.is_hop and head.media_type not in INDEXES:
            self.metrics.pulls.labels(mirror.host).inc()
        return await send_content(request, answer.manifest.content, headers), answer.result


def _as_asked(link: str, request: web.BaseRequest, reference: Reference) -> str:
    """Return the link to the next page with the registry named as in the request, by the path or by `ns`."""
    prefix = request.rel_url.raw_path.removesuffix(reference.path.removeprefix("/v2"))
    target, bracket, parameters = link.removeprefix("</v2").partition(">")
    if hosts := request.query.getall("ns", []):  # a host of the configuration, so it needs no quotes
        target += f"{'&' if '?' in target else '?'}ns={hosts[0]}"
    return f"<{prefix}{target}{bracket}{parameters}"


def _refusal(error: RegistryError) -> web.Response:
    headers = dict(API_VERSION)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return web.Response(status=error.status, body=error.body, content_type="application/json", headers=headers)
