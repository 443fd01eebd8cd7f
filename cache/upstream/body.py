"""Read small bodies of an upstream."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from cache.upstream.failures import not_a_registry

if TYPE_CHECKING:
    import aiohttp

_GZIP = 31  # window bits of zlib for this format


async def next_piece(content: aiohttp.StreamReader, silence: float | None = None) -> bytes:
    """Return the next bytes of a body, empty at its end. Raises TimeoutError after `silence` seconds.

    After a malformed chunk, reads of aiohttp 3.14 hang without its own timer, or raise RuntimeError.
    """
    try:
        async with asyncio.timeout(silence):
            return await content.readany()
    except RuntimeError as error:
        raise ConnectionResetError(str(error)) from error


async def read_body(response: aiohttp.ClientResponse, limit: int, party: str) -> bytes:
    """Return a body of at most `limit` bytes. Raises RegistryError.

    Some upstreams compress it although they were asked not to.
    """
    content = bytearray()
    while piece := await next_piece(response.content):
        content += piece
        if len(content) > limit:
            raise not_a_registry(party, f"a document of more than {limit} bytes")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return bytes(content)
    if encoding != "gzip":
        raise not_a_registry(party, "an unknown compression")
    inflater = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = inflater.decompress(bytes(content), limit + 1)
    except zlib.error:
        raise not_a_registry(party, "a document that cannot be decompressed") from None
    if len(plain) > limit:
        raise not_a_registry(party, f"a document of more than {limit} bytes")
    if not inflater.eof:
        raise not_a_registry(party, "a document that is cut off")
    return plain
