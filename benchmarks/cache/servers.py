"""Start what is measured: our cache, distribution, and `openssl s_server` as the limit of the machine."""

from __future__ import annotations

import hashlib
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trustme

from benchmarks import usage
from benchmarks.cache.figures import CACHE, DISTRIBUTION
from tests.cache.program import a_config
from tests.localcluster.node import programs
from tests.localcluster.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.types import Json

ROOT: Final = Path(__file__).parents[2]
START_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of one certificate for all servers, and of its CA."""

    certificate: str
    key: str
    ca: str


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    pid: int
    port: int


def certificate_in(folder: Path) -> Tls:
    """Write a certificate for localhost."""
    ca = trustme.CA()
    issued = ca.issue_cert("localhost", "127.0.0.1")
    tls = Tls(*(str(folder / name) for name in ("tls.crt", "tls.key", "ca.crt")))
    ca.cert_pem.write_to_path(tls.ca)
    issued.private_key_pem.write_to_path(tls.key)
    Path(tls.certificate).write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    return tls


@contextmanager
def replicas(engine: str, count: int, upstream: str, tls: Tls) -> Iterator[list[Server]]:
    """Run replicas with empty stores meanwhile. Those of the cache know each other."""
    configs, command = _ENGINES[engine]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        servers = []
        for number, (port, config) in enumerate(configs(count, upstream, tls, folder)):
            path = folder / f"config-{number}.json"
            path.write_text(json.dumps(config))
            servers.append(stack.enter_context(_process([*command(), str(path)], port, tls, folder)))
        yield servers


@contextmanager
def limit(blobs: dict[str, bytes], tls: Tls) -> Iterator[list[Server]]:
    """Serve files by one process per core meanwhile. A process answers one connection after the other."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for file, content in blobs.items():
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
            (folder / file).write_bytes(head.encode() + content)
        servers = []
        for _ in range(os.cpu_count() or 1):
            port = free_port()
            files = ["-cert", tls.certificate, "-key", tls.key, "-quiet", "-HTTP"]
            command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", *files]
            servers.append(stack.enter_context(_process(command, port, tls, folder)))
        yield servers


def random_blobs(sizes: list[int]) -> dict[str, bytes]:
    """Return blobs by the digits of their digest."""
    contents = [random.Random(number).randbytes(size) for number, size in enumerate(sizes)]  # noqa: S311
    return {hashlib.sha256(each).hexdigest(): each for each in contents}


def cpu_seconds(servers: list[Server]) -> float:
    """Return the CPU time of all servers since their start."""
    return sum(usage.cpu_seconds(each.pid) for each in servers)


def _caches(count: int, upstream: str, tls: Tls, folder: Path) -> Iterator[tuple[int, Json]]:
    files = {"certificate": tls.certificate, "key": tls.key}
    configs = [
        a_config(folder, upstream, files, root=str(folder / f"store-{number}"), caBundle=tls.ca)
        for number in range(count)
    ]
    ports = [int(config["listen"].rpartition(":")[2]) for config in configs]
    members = {f"cache-{number}": f"https://localhost:{port}" for number, port in enumerate(ports)}
    for number, (port, config) in enumerate(zip(ports, configs, strict=True)):
        Path(config["root"]).mkdir()
        if count > 1:
            config["peers"] = {"self": f"cache-{number}", "members": members, "ca": tls.ca}
        yield port, config


def _registries(count: int, upstream: str, tls: Tls, folder: Path) -> Iterator[tuple[int, Json]]:
    """Yield the configuration that this project ran distribution with."""
    for number in range(count):
        port = free_port()
        yield (
            port,
            {
                "version": "0.1",
                "log": {"level": "warn", "formatter": "json", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(folder / f"store-{number}")},
                    "delete": {"enabled": True},
                },
                "http": {"addr": f"127.0.0.1:{port}", "tls": {"certificate": tls.certificate, "key": tls.key}},
                "proxy": {"remoteurl": upstream, "ttl": "168h"},
            },
        )


_ENGINES: Final[dict[str, tuple[Callable[..., Iterator[tuple[int, Json]]], Callable[[], list[str]]]]] = {
    CACHE: (_caches, lambda: [sys.executable, "-m", "cache"]),
    DISTRIBUTION: (_registries, lambda: [str(programs.build(programs.REGISTRY)), "serve"]),
}


@contextmanager
def _process(command: list[str], port: int, tls: Tls, folder: Path) -> Iterator[Server]:
    """Run a server meanwhile; begin when it answers."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": tls.ca}
    log = folder / f"log-{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "OTEL_TRACES_EXPORTER": "none"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, port, tls, log)
        yield Server(process.pid, port)
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, tls: Tls, log: Path) -> None:
    context = ssl.create_default_context(cafile=tls.ca)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"https://localhost:{port}/v2/", context=context):
                return
        except (urllib.error.URLError, ConnectionError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r}: {error}\n{log.read_text()[-2000:]}") from error
            time.sleep(0.02)
