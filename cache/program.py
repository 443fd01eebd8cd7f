"""Run the parts of the cache, and follow changes of its configuration, certificate and CA bundle."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cache.config import CacheConfig, ConfigError, load
from cache.content.download import Downloads
from cache.metrics import Metrics
from cache.mirror import Mirror, Mirrors, Parts, mirror_of
from cache.replicas.peers import Peers, peers_of
from cache.server.registry import RegistryServer, serving
from cache.server.status import StatusServer
from cache.store.eviction import Evictor
from cache.store.scrub import scrub
from cache.store.store import FileStore
from cache.upstream.client import new_session
from cache.upstream.probe import probe
from cache.upstream.trust import client_context, peer_context
from common.proxies import proxies_in

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any

    import aiohttp

    from common.logs import Logger

# Seconds between two looks at the files: configuration, certificate, CA bundle.
WATCH_INTERVAL: Final = 2.0
# Seconds between two looks at the credentials of upstreams, and at what probes are due.
PROBE_TICK: Final = 1.0
# Seconds for which a replaced session may finish its downloads.
RETIRE_SECONDS: Final = 3600.0


class Program:
    """The running cache."""

    def __init__(self, path: Path, config: CacheConfig, environment: Mapping[str, str], log: Logger) -> None:
        self._path, self._config, self._log = path, config, log
        root = Path(config.root)
        self.metrics = Metrics()
        self._evictor = Evictor(root, config.ttl, config.min_free, log, self._evicted)
        self._store = FileStore(root, self._evictor.evict)
        self._downloads = Downloads(self._store)
        self._parts = Parts(self._store, self._downloads, self.metrics, proxies_in(environment), self._evictor.check)
        self._mirrors = Mirrors({})
        self._peers = Peers()
        self._sessions: list[aiohttp.ClientSession] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if config.tls else None
        self._retired: list[asyncio.Task[None]] = []
        self._ready = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set. Raises OSError if an address or the volume cannot be used."""
        await asyncio.to_thread(self._store.prepare)
        self._load_certificate()
        await self._apply(self._config)
        registry = RegistryServer(lambda: self._mirrors, self.metrics, self._log)
        status = StatusServer(
            Path(self._config.root), lambda: self._mirrors, self.metrics, self._downloads, self._evictor, self.is_ready
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            for work in (self._evictor.run(), scrub(Path(self._config.root), self._log), self._watch(), self._probe()):
                stack.enter_context(_running(work))
            await stack.enter_async_context(serving(status.handle, self._config.status_listen))
            port = await stack.enter_async_context(serving(registry.handle, self._config.listen, self._context))
            self._ready = True
            self._log.info("serving", port=port, upstreams=[each.host for each in self._config.upstreams])
            await stopping.wait()
            self._ready = False
            self._log.info("stopping")

    def is_ready(self) -> bool:
        """Return True while requests are accepted."""
        return self._ready

    async def _apply(self, config: CacheConfig) -> None:
        """Follow a configuration: upstreams that did not change keep their tokens and state."""
        old, sessions = self._mirrors, self._sessions
        session = new_session(await asyncio.to_thread(client_context, config.ca_bundle))
        peer_session = new_session(peer_context(config.peers.ca if config.peers else None))
        self._sessions = [session, peer_session]
        self._peers = peers_of(config.peers, peer_session, self._peers)
        self._mirrors = Mirrors({each.host: self._mirror(each, config, session, old) for each in config.upstreams})
        self._evictor.ttl, self._evictor.floor = config.ttl, config.min_free
        self._config = config
        await asyncio.to_thread(self._store.retain, [each.directory for each in config.upstreams])
        for each in sessions:
            self._retired.append(asyncio.create_task(_close_later(each)))

    def _mirror(self, config: Any, whole: CacheConfig, session: aiohttp.ClientSession, old: Mirrors) -> Mirror:
        mirror = mirror_of(config, self._parts, session, self._peers)
        mirror.count_repositories = whole.count_repositories
        before = old.by_host.get(config.host)
        if before is not None and before.config == config:
            mirror.client.health, mirror.clients = before.client.health, before.clients
            mirror.client.login = before.client.login
        return mirror

    async def _watch(self) -> None:
        stamps = self._stamps()
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            now = self._stamps()
            if now != stamps:
                stamps = now
                await self._reload()

    def _stamps(self) -> list[tuple[int, int]]:
        tls, peers = self._config.tls, self._config.peers
        paths = [str(self._path), self._config.ca_bundle, peers.ca if peers else None]
        return [_stamp(each) for each in [*paths, *([tls.certificate, tls.key] if tls else [])] if each]

    async def _reload(self) -> None:
        self._load_certificate()
        try:
            config = load(self._path)
        except ConfigError as error:
            self._log.error("configuration refused", mistakes=str(error).splitlines())
            return
        if config.needs_restart(self._config):
            self._log.error("configuration refused", mistakes=["listen, statusListen, root, tls: need a restart"])
            return
        await self._apply(config)
        self._log.info("configuration applied", upstreams=[each.host for each in config.upstreams])

    def _load_certificate(self) -> None:
        """Use the certificate of the files for new connections. A pair that does not match is refused."""
        tls, context = self._config.tls, self._context
        if tls is None or context is None:
            return
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
            context.load_cert_chain(tls.certificate, tls.key)
        except (OSError, ssl.SSLError) as error:
            if not self._ready:
                raise
            self._log.error("certificate refused", error=str(error))

    async def _probe(self) -> None:
        """Probe each upstream when it is due. One that hangs delays no other."""
        async with asyncio.TaskGroup() as probes:
            while True:
                for mirror in self._mirrors.by_host.values():
                    mirror.client.basic()  # changed credentials make a probe due
                    if mirror.client.health.begin_probe(time.monotonic()):
                        probes.create_task(probe(mirror.client))
                await asyncio.sleep(PROBE_TICK)

    def _evicted(self, cause: str, size: int) -> None:
        self.metrics.evictions.labels(cause).inc()
        self.metrics.evicted_bytes.labels(cause).inc(size)

    async def _close(self) -> None:
        await self._downloads.stop()
        for mirror in self._mirrors.by_host.values():
            await mirror.stop()
        for task in self._retired:
            task.cancel()
        for session in self._sessions:
            await session.close()


async def _close_later(session: aiohttp.ClientSession) -> None:
    """Close a session that a change replaced, after the downloads that still use it."""
    await asyncio.sleep(RETIRE_SECONDS)
    await session.close()


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_ino


@contextlib.contextmanager
def _running(work: Coroutine[Any, Any, None]) -> Any:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
