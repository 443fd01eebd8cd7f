"""Run the cache as a process, and ask it as containerd does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from tests.cache.images import blobs_of, has_digest
from tests.localcluster.ports import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from common.types import Json

REPOSITORY = Path(__file__).parents[2]
# Deadlines for a machine that does much else.
START_SECONDS = 120.0
STATE_SECONDS = 30.0
WRONG_CONTENT = "the content does not have its digest"


@dataclass
class Answer:
    """The response of the cache."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    first_byte: float  # seconds from the request
    silence: float  # the longest time without a byte of the body, in seconds
    seconds: float

    @property
    def code(self) -> str:
        """Return the code of an OCI error."""
        return str(json.loads(self.body)["errors"][0]["code"])


@dataclass
class Cache:
    """One replica. `config` is what its file holds."""

    folder: Path
    config: Json
    context: ssl.SSLContext
    name: str = "cache-0"
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()  # a command that runs the program
    process: asyncio.subprocess.Process | None = None
    session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Return where it serves."""
        return f"{'https' if self.config['tls'] else 'http'}://localhost:{self.port}"

    @property
    def port(self) -> int:
        """Return the port of the registry API."""
        return int(self.config["listen"].rpartition(":")[2])

    @property
    def root(self) -> Path:
        """Return the directory of its store."""
        return Path(self.config["root"])

    def write(self) -> None:
        """Write the configuration file in one step."""
        path = self.folder / "config.json"
        path.with_suffix(".new").write_text(json.dumps(self.config))
        path.with_suffix(".new").replace(path)

    async def start(self) -> Cache:
        """Start the process; return when it is ready."""
        self.write()
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                sys.executable,
                "-m",
                "cache",
                str(self.folder / "config.json"),
                cwd=REPOSITORY,
                env={"PATH": os.environ["PATH"], **self.environment},
                stdout=log,
                stderr=log,
            )
        self.session = self.session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.context, limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        await self.until(self.is_ready, START_SECONDS)
        return self

    async def is_ready(self) -> bool:
        """Return True if the readiness probe succeeds."""
        assert self.process is not None
        assert self.process.returncode is None, self.log()
        with contextlib.suppress(aiohttp.ClientError):
            return (await self.status_page("readyz"))[0] == 200
        return False

    async def until(self, question: Any, seconds: float = STATE_SECONDS) -> None:
        """Wait for a state."""
        deadline = time.monotonic() + seconds
        while not await question():
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.02)

    async def status_page(self, page: str) -> tuple[int, bytes]:
        """Return a page of the status port."""
        assert self.session is not None
        port = self.config["statusListen"].rpartition(":")[2]
        async with self.session.get(f"http://127.0.0.1:{port}/{page}") as response:
            return response.status, await response.read()

    async def status(self) -> Json:
        """Return what `/status` reports."""
        parsed: Json = json.loads((await self.status_page("status"))[1])
        return parsed

    async def metric(self, name: str, /, **labels: str) -> float:
        """Return the sum of a metric over all series with the labels."""
        page = (await self.status_page("metrics"))[1].decode()
        lines = [line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))

    async def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request for a raw path below /v2/ and read the whole answer. Raises aiohttp.ClientError."""
        assert self.session is not None
        began = time.monotonic()
        url = URL(f"{self.url}/v2/{path}", encoded=True)
        async with self.session.request(method, url, headers=headers or {}) as response:
            body, moments = bytearray(), [began]
            while piece := await response.content.readany():
                body += piece
                moments.append(time.monotonic())
            moments.append(time.monotonic())
            silence = max(after - before for before, after in pairwise(moments))
            headers, seconds = response.headers.copy(), moments[-1] - began
            return Answer(response.status, bytes(body), headers, moments[1] - began, silence, seconds)

    async def pull(self, name: str, tag: str = "latest") -> list[Answer]:
        """Pull an image as containerd does, verify all digests, and return the answers for the blobs.

        All images of an index are pulled.
        """
        head = await self.ask(f"{name}/manifests/{tag}", "HEAD")
        assert head.status == 200, (head.status, self.log())
        return await self.pull_digest(name, head.headers["Docker-Content-Digest"], head.headers["Content-Length"])

    async def pull_digest(self, name: str, digest: str, size: str | None = None) -> list[Answer]:
        """Pull the manifest of a digest, of `size` bytes if that is known, and all that it refers to."""
        manifest = await self._verified(f"{name}/manifests/", digest)
        assert size in (None, str(len(manifest.body)))
        document = json.loads(manifest.body)
        answers = []
        for each in document.get("manifests", []):
            answers += await self.pull_digest(name, each["digest"])
        for each in blobs_of(document):
            answers.append(await self._verified(f"{name}/blobs/", each))
        return answers

    async def _verified(self, path: str, digest: str) -> Answer:
        answer = await self.ask(path + digest)
        assert answer.status == 200, (answer.status, answer.body, self.log())
        assert has_digest(answer.body, digest), WRONG_CONTENT
        assert answer.headers.get("Content-Length") in (None, str(len(answer.body)))  # None: the upstream names no size
        return answer

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)

    def memory(self) -> int:
        """Return the resident bytes of the process."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Return the processor time of the process."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self, below: str = "") -> int:
        """Return the number of its open descriptors: all, or those of files below a directory."""
        assert self.process is not None
        count = 0
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += str(each.readlink()).startswith(below)
        return count

    def problems(self) -> list[str]:
        """Return what it logged beside information."""
        lines = (self.folder / "log").read_text().splitlines()
        return [each for each in lines if '"level":"info"' not in each]

    def log(self) -> str:
        """Return the end of its log."""
        return (self.folder / "log").read_text()[-4000:]

    def stored(self, digest: str, kind: str = "blobs") -> Path:
        """Return the file of a stored blob or manifest."""
        found = self.files(f"{kind}/*/*/{digest.partition(':')[2]}")
        assert len(found) == 1, found
        return found[0]

    def has(self, digest: str, kind: str = "blobs") -> bool:
        """Return True if the blob or manifest is stored."""
        return bool(self.files(f"{kind}/*/*/{digest.partition(':')[2]}"))

    def files(self, pattern: str = "*/*/*/*") -> list[Path]:
        """Return stored files of all upstreams: blobs and manifests, or those of a pattern."""
        return [each for each in self.root.glob(f"*/{pattern}") if each.is_file()]

    def sound_blobs(self) -> int:
        """Assert that each stored blob has its digest; return their number."""
        found = self.files("blobs/*/*/*")
        for path in found:
            assert has_digest(path.read_bytes(), f"{path.parts[-3]}:{path.name}"), path
        return len(found)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process and return its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(number)
        return await self.process.wait()

    async def close(self) -> None:
        """End the process and the client."""
        if self.process is not None:
            await self.stop(signal.SIGKILL)
        if self.session is not None:
            await self.session.close()


def credentials(folder: Path, username: bytes = b"robot", password: bytes = b"secret") -> Json:
    """Write a folder with an account and return its files."""
    folder.mkdir(exist_ok=True)
    (folder / "username").write_bytes(username)
    (folder / "password").write_bytes(password)
    return credential_files(folder)


def credential_files(folder: Path) -> Json:
    """Return the files of an account in a folder, as in a configuration."""
    return {name: str(folder / name) for name in ("username", "password")}


def a_config(folder: Path, upstream: str, tls: Json | None, *, credentials: Json | None = None, **changes: Any) -> Json:
    """Return a configuration with free ports."""
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "statusListen": f"127.0.0.1:{free_port()}",
        "tls": tls,
        "root": str(folder / "store"),
        "ttl": "168h",
        "minFree": "0",
        "upstreams": [{"host": "registry.test", "url": upstream, "credentials": credentials}],
        "caBundle": str(folder.parent / "ca.crt"),
        "peers": None,
        **changes,
    }
