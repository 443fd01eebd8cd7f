"""Ask the other replicas. A replica that answers no ping costs two seconds once. Then it is left out for some."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import aiohttp
from yarl import URL

from cache.coalesce import Coalescer
from cache.model.errors import RegistryError, WrongContentError
from cache.replicas.rendezvous import ranked
from cache.upstream.body import read_body
from cache.upstream.failures import failure_of, is_success, refusal_of
from cache.upstream.transfer import Transfer, range_header, transfer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from cache.config import PeersConfig
    from cache.model.reference import Reference
    from cache.upstream.session import Session

T = TypeVar("T")

# Marks a request of a replica, which must not be passed on to a third one.
HOP_HEADER: Final = "Registry-Mirror-Hop"
ONLY_IF_CACHED: Final = {"Cache-Control": "only-if-cached"}
# Seconds of silence before a replica is asked if it is alive, and the time it has to answer that.
PATIENCE: Final = 1.0
PING_SECONDS: Final = 1.0
# Seconds for which a replica that failed is left out.
PAUSE: Final = 10.0
_FAILURES: Final = (aiohttp.ClientError, OSError, ValueError)


@dataclass(slots=True)
class Peer:
    """One other replica. Its certificate is verified for `server_name`, or for the host of its URL."""

    name: str
    url: str
    session: Session
    server_name: str | None = None
    paused_until: float = 0.0
    _heard_at: float = 0.0  # when it last sent anything, on the monotonic clock
    _pings: Coalescer[None] = field(default_factory=Coalescer)

    @property
    def party(self) -> str:
        """Return how messages name the replica."""
        return f"The replica {self.name}"

    @property
    def is_available(self) -> bool:
        """Return True if the replica is not left out."""
        return time.monotonic() >= self.paused_until

    def pause(self) -> None:
        """Leave the replica out for some time."""
        self.paused_until = time.monotonic() + PAUSE

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, host: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request for content of the upstream `host`. Raises RegistryError."""
        url = URL(f"{self.url}{path}", encoded=True).update_query(ns=host)
        response = await self.alive(self._send(method, url, headers or {}))
        try:
            yield response
        finally:
            response.release() if response.content.at_eof() else response.close()

    async def alive(self, awaited: Awaitable[T]) -> T:
        """Wait for something as long as the replica sends anything or answers pings. Raises RegistryError."""
        task, timeout = asyncio.ensure_future(awaited), PATIENCE
        try:
            while not (await asyncio.wait([task], timeout=timeout))[0]:
                # A busy replica may send bodies and be late with a new connection.
                timeout = self._heard_at + PATIENCE - time.monotonic()
                if timeout <= 0:
                    await self._ping()
                    timeout = PATIENCE
            result = task.result()
            self._heard_at = time.monotonic()
            return result
        except _FAILURES as error:
            if task.done():  # a replica that cut a response may be well
                with contextlib.suppress(*_FAILURES):
                    await self._ping()
            raise failure_of(error, self.party) from error
        finally:
            task.cancel()

    async def _ping(self) -> None:
        """Pause the replica if it does not answer."""
        await self._pings.join("", self._try_connection)[0]  # one for all who wait

    async def _try_connection(self) -> None:
        """Use a new connection: the event loop of a stopped process completes no TLS handshake."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                async with await self._send("GET", URL(f"{self.url}/v2/"), {"Connection": "close"}) as answer:
                    if not is_success(answer.status):
                        raise ConnectionError(answer.status)
        except _FAILURES:
            self.pause()
            raise

    async def _send(self, method: str, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        return await self.session.current.request(
            method,
            url,
            headers={HOP_HEADER: "1", **headers},
            allow_redirects=False,
            server_hostname=self.server_name,
        )


@dataclass(frozen=True, slots=True)
class PeerSource:
    """A replica as the source of a blob."""

    peer: Peer
    host: str
    only_if_cached: bool
    is_upstream: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Return a name that no upstream has."""
        return f"peer {self.peer.name}{' (stored)' if self.only_if_cached else ''}"

    @asynccontextmanager
    async def open(self, reference: Reference, offset: int) -> AsyncIterator[Transfer]:
        """Open the body at or before an offset. Raises RegistryError."""
        headers = {**range_header(offset), **(ONLY_IF_CACHED if self.only_if_cached else {})}
        party = self.peer.party
        async with self.peer.ask("GET", reference.path, self.host, headers) as response:
            if not is_success(response.status):
                raise refusal_of(response.status, response.headers, party)
            transfer = transfer_of(response, offset, party)
            try:
                yield Transfer(_patient(self.peer, transfer.read), transfer.start, transfer.size)
            except WrongContentError:
                self.peer.pause()
                raise


def _patient(peer: Peer, read: Callable[[], Awaitable[bytes]]) -> Callable[[], Awaitable[bytes]]:
    async def read_alive() -> bytes:
        return await peer.alive(read())

    return read_alive


@dataclass(slots=True)
class Peers:
    """The other replicas of this cache. `owners` are the names of all members, `name` is that of this replica."""

    session: Session
    name: str = ""
    owners: frozenset[str] = frozenset()
    members: dict[str, Peer] = field(default_factory=dict)

    def follow(self, config: PeersConfig | None) -> None:
        """Ask the replicas of a configuration; those that did not change keep their state."""
        members = config.members if config else {}
        self.name, self.owners = config.own_name if config else "", frozenset(members)
        server_name = config.server_name if config else None
        peers = [Peer(name, url, self.session, server_name) for name, url in members.items() if name != self.name]
        self.members = {each.name: self._kept(each) for each in peers}

    def _kept(self, peer: Peer) -> Peer:
        old = self.members.get(peer.name)
        return old if old is not None and (old.url, old.server_name) == (peer.url, peer.server_name) else peer

    def owner(self, key: str) -> Peer | None:
        """Return the replica that fetches a key from the upstream; None if that is this one.

        A replica that is left out does not count, so that the next one takes its keys.
        """
        for name in ranked(self.owners, key):
            if name == self.name:
                return None
            if self.members[name].is_available:
                return self.members[name]
        return None

    def others(self) -> list[Peer]:
        """Return all replicas that are not left out."""
        return [each for each in self.members.values() if each.is_available]

    async def stored(self, path: str, host: str, limit: int) -> AsyncIterator[tuple[Peer, Mapping[str, str], bytes]]:
        """Ask one replica after another for a document of at most `limit` bytes, and yield what they have stored."""
        for peer in self.others():
            try:
                async with peer.ask("GET", path, host, ONLY_IF_CACHED) as response:
                    if not is_success(response.status):
                        continue
                    content = await peer.alive(read_body(response, limit, peer.party))
            except RegistryError:
                continue
            yield peer, response.headers, content
