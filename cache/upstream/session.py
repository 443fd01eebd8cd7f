"""Keep a session of the HTTP client, and renew it if the file of its CAs changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from cache.file_stamp import Stamp, stamp_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

# Seconds until a connection is made, TLS included, and the longest silence of an answer.
CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 20.0
# Seconds for which a replaced session may finish its transfers.
RETIRE_SECONDS: Final = 3600.0
BASE_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "registry-mirror-cache"}


@dataclass(slots=True)
class Session:
    """A session that trusts a file of CAs.

    `context_of(path)` reads them; it may take tens of milliseconds. `silence` is the longest one of an answer, in
    seconds.
    """

    context_of: Callable[[str | None], ssl.SSLContext]
    silence: float | None = SILENCE_SECONDS
    _current: aiohttp.ClientSession | None = None
    _trusted: tuple[str | None, Stamp] | None = None
    _retired: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def current(self) -> aiohttp.ClientSession:
        """Return the session for a new request."""
        assert self._current is not None, "followed first"  # noqa: S101 (a mistake of ours)
        return self._current

    async def follow(self, path: str | None) -> bool:
        """Trust the CAs that a file has now. Return True if the file changed."""
        trusted = path, stamp_of(path)
        if trusted == self._trusted:
            return False
        context, old = await asyncio.to_thread(self.context_of, path), self._current
        self._trusted, self._current = trusted, _new_session(context, self.silence)
        if old is not None:
            task = asyncio.create_task(_close_later(old))
            self._retired.add(task)
            task.add_done_callback(self._retired.discard)
        return True

    async def close(self) -> None:
        """Close all connections."""
        for task in self._retired:
            task.cancel()
        if self._current is not None:
            await self._current.close()


def _new_session(context: ssl.SSLContext, silence: float | None) -> aiohttp.ClientSession:
    """Return a session that stores no cookies, unpacks nothing and uses no variables of the environment.

    It has no limit of connections: a probe or a ping that waits for one would report an outage.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers=BASE_HEADERS,
        read_bufsize=2**19,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence),
    )


async def _close_later(session: aiohttp.ClientSession) -> None:
    try:
        await asyncio.sleep(RETIRE_SECONDS)
    finally:
        await session.close()
