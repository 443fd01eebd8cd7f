"""Open the body of a blob at an upstream or a peer, from any offset."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from cache.model.errors import BAD_GATEWAY, RegistryError
from cache.upstream.body import next_piece
from cache.upstream.failures import is_success, not_a_registry
from cache.upstream.session import SILENCE_SECONDS
from common.cache_protocol import UpstreamReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from cache.model.reference import Reference
    from cache.upstream.client import UpstreamClient

BLOBS: Final = "blobs"
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A body that is arriving.

    `read` returns the next bytes, empty at the end. `start` is the offset of the first of them. `size` is that of the
    whole blob, None if it is unknown.
    """

    read: Callable[[], Awaitable[bytes]]
    start: int
    size: int | None


class Source(Protocol):
    """A place to fetch a blob from."""

    is_upstream: ClassVar[bool]

    @property
    def name(self) -> str:
        """Return a name that no other source of the blob has."""

    def open(self, reference: Reference, offset: int) -> AbstractAsyncContextManager[Transfer]:
        """Open the body at or before an offset. Raises RegistryError."""


@dataclass(frozen=True, slots=True)
class UpstreamSource:
    """The upstream registry."""

    client: UpstreamClient
    name: str = "upstream"
    is_upstream: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, reference: Reference, offset: int) -> AsyncIterator[Transfer]:
        """Open the body with one GET. Raises RegistryError."""
        if offset == 0:
            self.client.check(BLOBS, reference.name)
        headers = range_header(offset)
        async with self.client.ask("GET", reference.path, reference.name, BLOBS, headers) as response:
            if not is_success(response.status):
                raise self.client.refused(response, BLOBS, reference.name)
            try:
                transfer = transfer_of(response, offset, self.client.party, SILENCE_SECONDS)
            except RegistryError as error:
                self.client.failed(BLOBS, error, reference.name)
                raise
            self.client.succeeded(BLOBS)
            yield transfer


def range_header(offset: int) -> dict[str, str]:
    """Return the header that asks for the rest of a body."""
    return {"Range": f"bytes={offset}-"} if offset else {}


def transfer_of(response: aiohttp.ClientResponse, offset: int, party: str, silence: float | None = None) -> Transfer:
    """Return the transfer of an answer with status 200 or 206. Raises RegistryError.

    Its reads raise TimeoutError after `silence` seconds.
    """
    read = partial(next_piece, response.content, silence)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise not_a_registry(party, "a compressed blob")
    if response.content_type == "text/html":
        raise not_a_registry(party, "a web page in place of a blob")
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) > offset:
            raise RegistryError(BAD_GATEWAY, f"{party} answers another range.", reason=UpstreamReason.NOT_A_REGISTRY)
        return Transfer(read, int(match[1]), None if match[3] == "*" else int(match[3]))
    return Transfer(read, 0, response.content_length)
