"""Ask pods for their state over plain HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    # Takes the address of a pod. Returns its answer as parsed JSON, or None if it does not answer.
    Fetch = Callable[[str], Awaitable[object]]

# Seconds for one answer. A pod has it ready.
ANSWER_TIMEOUT: Final = 2.0
# Concurrent requests: 500 dead nodes fit into 20 s.
CONCURRENCY: Final = 50
ANSWER_MAX: Final = 65_536  # bytes; an agent's answer has a few hundred, that of a cache some kilobytes


@asynccontextmanager
async def http_fetch(port: int, path: str) -> AsyncIterator[Fetch]:
    """Yield a Fetch over HTTP. It connects to pod addresses directly, not through the environment's proxy."""
    connector = aiohttp.TCPConnector(limit=2 * CONCURRENCY, force_close=True)
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=False,
        # No pod compresses its answer. A small compressed answer of another program could fill the memory.
        auto_decompress=False,
    ) as session:
        yield partial(_fetch, session, port, path)


async def _fetch(session: aiohttp.ClientSession, port: int, path: str, address: str) -> object:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{port}{path}", allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > ANSWER_MAX:
                    return None
            parsed: object = orjson.loads(bytes(body))
            return parsed
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
