"""Run the parts of the cache, and follow changes of its configuration, certificate, CAs and credentials."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cache.clients import Clients
from cache.config import CacheConfig, ConfigError, load
from cache.content.download import Downloads
from cache.file_stamp import stamp_of
from cache.metrics import Metrics
from cache.mirror import Mirrors, Parts
from cache.replicas.peers import Peers
from cache.server.certificate import ServingCertificate
from cache.server.listener import serving
from cache.server.registry_server import RegistryServer
from cache.server.status_server import StatusServer
from cache.store.disk import Disk
from cache.store.eviction import Evictor
from cache.store.file_store import FileStore
from cache.store.files import use_resolution
from cache.store.scrub import scrub
from cache.upstream.credentials import Credentials, read_credentials
from cache.upstream.probe import probe
from cache.upstream.proxies import proxies_in
from cache.upstream.session import Session
from cache.upstream.tokens import LoginMemory
from cache.upstream.trust import client_context, peer_context
from common.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from cache.config import UpstreamConfig
    from cache.file_stamp import Stamp
    from common.logs import Logger

# Seconds between two looks at the files: configuration, credentials, certificate, CAs.
WATCH_INTERVAL: Final = 1.0
# Seconds between two looks at what probes are due.
PROBE_TICK: Final = 1.0
# Seconds before a loop that crashed begins again.
RESTART_SECONDS: Final = 10.0


class Program:
    """The running cache."""

    def __init__(self, path: Path, config: CacheConfig, environment: Mapping[str, str], log: Logger) -> None:
        self._path, self._config, self._log = path, config, log
        root = Path(config.root)
        self._metrics = Metrics()
        self._evictor = Evictor(root, config.ttl, config.min_free, config.max_size, log, self._metrics.count_eviction)
        self._disk = Disk(log, self._metrics.store_errors.inc)
        self._store = FileStore(root, self._disk, self._evictor.evict, self._evictor.take, self._evictor.note_stored)
        self._downloads = Downloads()
        # A replica whose upstream is slow is silent, too. Pings find out if it is alive.
        self._upstream_session, self._peer_session = Session(client_context), Session(peer_context, silence=None)
        self._peers = Peers(self._peer_session)
        self._mirrors = Mirrors(
            Parts(
                store=self._store,
                downloads=self._downloads,
                metrics=self._metrics,
                proxies=proxies_in(environment),
                session=self._upstream_session,
                peers=self._peers,
                logins=LoginMemory(),
                check_space=self._evictor.check,
            )
        )
        self._certificate = ServingCertificate()
        self._ready = False
        self._seen: Stamp | None = None  # of the configuration file
        self._next: CacheConfig | None = None  # what the file had then; None if it was refused

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set. Raises OSError if an address, the volume or the certificate cannot be used."""
        await asyncio.to_thread(self._store.prepare)
        if self._config.tls is not None:
            self._certificate.follow(self._config.tls)
        await self._apply(self._config, dict.fromkeys(self._config.upstreams, Credentials()))
        await self._follow_configuration()
        root = Path(self._config.root)
        clients = Clients()
        registry = RegistryServer(self._mirrors, self._metrics, clients, self._log)
        status = StatusServer(
            self._mirrors, self._metrics, self._downloads, self._evictor, self._disk, clients, self.is_ready
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            for work in (self._evictor.run, lambda: scrub(root, self._log), self._watch, self._probe):
                task = asyncio.create_task(self._kept_running(work))
                stack.callback(task.cancel)
            await stack.enter_async_context(serving(status.handle, self._config.status_listen))
            context = self._certificate.context if self._config.tls else None
            port = await stack.enter_async_context(serving(registry.handle, self._config.listen, context))
            self._ready = True
            self._log.info("serving", version=VERSION, port=port, upstreams=list(self._mirrors.by_host))
            await stopping.wait()
            self._ready = False
            self._log.info("stopping")

    def is_ready(self) -> bool:
        """Return True while requests are accepted."""
        return self._ready

    async def _kept_running(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop, and begin again if it crashes: stored content is served meanwhile."""
        while True:
            try:
                await work()
            except Exception:  # noqa: BLE001 (the boundary: one loop must not end the others)
                self._log.exception("background work crashed")
            await asyncio.sleep(RESTART_SECONDS)

    async def _apply(self, config: CacheConfig, upstreams: Mapping[UpstreamConfig, Credentials]) -> None:
        self._config = config
        self._metrics.counts_repositories = config.count_repositories
        self._evictor.ttl, self._evictor.floor, self._evictor.max_size = config.ttl, config.min_free, config.max_size
        self._store.resolution = use_resolution(config.ttl)
        self._peers.follow(config.peers)
        await self._follow_cas()
        await self._mirrors.follow(upstreams)
        self._evictor.rescan()

    async def _follow_cas(self) -> None:
        peers = self._config.peers
        await self._peer_session.follow(peers.ca if peers else None)
        if await self._upstream_session.follow(self._config.ca_bundle):
            for mirror in self._mirrors.by_host.values():
                mirror.client.health.probed = None

    def _follow_certificate(self) -> None:
        try:
            if self._config.tls is not None and self._certificate.follow(self._config.tls):
                self._log.info("certificate loaded")
        except OSError as error:
            self._log.error("certificate refused", error=str(error))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            await self._follow_configuration()
            self._follow_certificate()
            await self._follow_cas()

    async def _follow_configuration(self) -> None:
        """Follow the configuration file and the credentials.

        One Secret holds both and changes in one step. Credentials of another version than the configuration are
        ignored until the next look, so that no upstream gets those of another one.
        """
        stamp = stamp_of(self._path)
        if stamp != self._seen:
            self._seen, self._next = stamp, self._loaded()
        config = self._next
        if config is None:
            return
        upstreams = {each: read_credentials(each.credentials) for each in config.upstreams}
        if stamp_of(self._path) != stamp:
            return
        if config == self._config:
            self._mirrors.follow_credentials(upstreams)
        else:
            await self._apply(config, upstreams)
            self._log.info("configuration applied", upstreams=list(self._mirrors.by_host))

    def _loaded(self) -> CacheConfig | None:
        """Return what the configuration file has now; None if it is refused."""
        try:
            config = load(self._path)
        except ConfigError as error:
            self._log.error("configuration refused", mistakes=str(error).splitlines())
            return None
        if config.needs_restart(self._config):
            self._log.error("configuration refused", mistakes=["listen, statusListen, root, tls: need a restart"])
            return None
        return config

    async def _probe(self) -> None:
        """Probe each upstream when it is due, and log changes of its state. One that hangs delays no other."""
        logged: dict[str, object] = {}
        async with asyncio.TaskGroup() as probes:
            while True:
                for host, mirror in self._mirrors.by_host.items():
                    client = mirror.client
                    if client.health.begin_probe(time.monotonic()):
                        probes.create_task(probe(client))
                    state = {"reason": client.health.reason, "credentials": client.login}
                    if logged.get(host) != state and client.health.asked is not None:
                        logged[host] = state
                        self._log.info("upstream state", upstream=client.party, **state)
                await asyncio.sleep(PROBE_TICK)

    async def _close(self) -> None:
        await self._mirrors.stop()
        await self._upstream_session.close()
        await self._peer_session.close()
