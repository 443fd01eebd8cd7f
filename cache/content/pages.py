"""Pass on pages of referrers and tags. Referrers are stored for the time when the upstream is away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from cache.coalesce import Coalescer
from cache.content.manifest_sources import MANIFESTS, STALE_AFTER
from cache.model.errors import NOT_FOUND, RegistryError
from cache.model.manifest import document_in
from cache.model.reference import Kind
from cache.model.results import Result
from cache.upstream.body import read_body
from cache.upstream.failures import failure_of, is_success, not_a_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache.model.reference import Reference, Request
    from cache.store.store import Store
    from cache.upstream.client import UpstreamClient

# Bytes of a page.
PAGE_MAX: Final = 4 * 1024 * 1024
# Query parameters of the specification; others are dropped.
_PARAMETERS: Final = ("artifactType", "n", "last")
_PASSED_ON: Final = ("Content-Type", "OCI-Filters-Applied")


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its headers."""

    content: bytes
    headers: dict[str, str]
    result: Result


@dataclass(slots=True)
class PageService:
    """The pages of one upstream."""

    area: str
    client: UpstreamClient
    store: Store
    _pages: Coalescer[Page] = field(default_factory=Coalescer)

    async def get(self, request: Request, query: Mapping[str, str]) -> Page:
        """Return a page. Raises RegistryError."""
        asked = {name: query[name] for name in _PARAMETERS if name in query}
        url = URL(request.reference.path).with_query(asked)
        if request.only_if_cached:
            return self._stored(url, RegistryError(NOT_FOUND, "The page is not stored."))
        future, _ = self._pages.join(str(url), lambda: self._ask(request.reference, url))
        has_stored = self.store.page(self.area, str(url)) is not None
        try:
            async with asyncio.timeout(STALE_AFTER if has_stored else None):
                return await future
        except TimeoutError:
            return self._stored(url, failure_of(TimeoutError(), self.client.party))
        except RegistryError as error:
            if not error.is_outage:
                raise
            return self._stored(url, error)

    async def stop(self) -> None:
        """Cancel what is in progress."""
        await self._pages.stop()

    def _stored(self, url: URL, error: RegistryError) -> Page:
        content = self.store.page(self.area, str(url))
        if content is None:
            raise error
        media_type, _, body = content.partition(b"\n")
        return Page(body, {"Content-Type": media_type.decode("ascii", "replace")}, Result.STALE)

    async def _ask(self, reference: Reference, url: URL) -> Page:
        self.client.check(MANIFESTS, reference.name)
        key = "manifests" if reference.kind is Kind.REFERRERS else "tags"
        try:
            async with self.client.ask("GET", url.raw_path_qs, reference.name, MANIFESTS) as response:
                if not is_success(response.status):
                    raise self.client.refused(response, MANIFESTS, reference.name)
                content = await read_body(response, PAGE_MAX, self.client.party)
                # Some registries write null for an empty list.
                if not isinstance(document_in(content).get(key, ""), list | None):
                    raise not_a_registry(self.client.party, f"a page without a list of {key}")
                headers = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
                # The next page. A link to another host would lead clients past the cache.
                if response.headers.get("Link", "").startswith("</v2/"):
                    headers["Link"] = response.headers["Link"]
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise failure_of(error, self.client.party) from error
        self.client.succeeded(MANIFESTS)
        if reference.kind is Kind.REFERRERS:
            media_type = headers.get("Content-Type", "application/json")
            await self.store.put_page(self.area, str(url), media_type.encode() + b"\n" + content)
        return Page(content, headers, Result.MISS)
