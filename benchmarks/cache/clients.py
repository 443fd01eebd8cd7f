"""Load a registry as many nodes do: `python -m benchmarks.cache.clients WORK`.

The clients run in processes of their own. A process prints `ready`, begins at the first line of its input, and prints
its figures as JSON. Clients that ask for `paths` are connected before. The process fails at any answer other than 200
and at any wrong digest.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

from benchmarks.cache.connection import Connection, Response

OK: Final = 200
DIGITS: Final = 64  # of a SHA-256


class WrongAnswerError(Exception):
    """A server answered wrongly, so the figures are void."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of the clients of one process.

    Clients take turns with `ports`, and with the lists of `images` (`name:tag`). A client pulls its images one after
    the other, gets all `blobs` at the same time, and then gets `paths` in turn for some seconds.
    """

    ports: list[int]
    ca: str
    clients: range
    images: list[list[str]]
    blobs: list[str]
    paths: list[str]
    seconds: float
    network: int  # second byte of the address of all clients

    def to_json(self) -> str:
        """Return the argument of the process."""
        return json.dumps({**asdict(self), "clients": [self.clients.start, self.clients.stop]})

    @classmethod
    def of_json(cls, text: str) -> Work:
        """Parse the argument of the process."""
        fields = json.loads(text)
        return cls(**{**fields, "clients": range(*fields["clients"])})


@dataclass(slots=True)
class Done:
    """The figures of one client. `finished` is on the monotonic clock, `first_byte` in seconds from its request."""

    finished: float = 0.0
    first_byte: float = 0.0
    requests: int = 0
    size: int = 0


class Client:
    """One node. It keeps its connections."""

    def __init__(self, port: int, context: ssl.SSLContext, source: str) -> None:
        self._address = port, context, source
        self._idle: list[Connection] = []
        self.done = Done()

    async def connect(self, path: str) -> None:
        """Open a connection by a request that does not count."""
        await self._ask("GET", path)
        self.done = Done()

    async def pull(self, image: str) -> None:
        """Pull an image in containerd's order of requests."""
        name, _, tag = image.partition(":")
        head = await self._ask("HEAD", f"/v2/{name}/manifests/{tag}")
        digest = head.headers[b"docker-content-digest"].decode()
        manifest = json.loads((await self._ask("GET", f"/v2/{name}/manifests/{digest}", keep=True)).content)
        await self.fetch([_path_of(name, manifest["config"])])
        await self.fetch([_path_of(name, layer) for layer in manifest["layers"]])

    async def fetch(self, paths: list[str]) -> None:
        """Get blobs at the same time."""
        await asyncio.gather(*(self.get(path) for path in paths))

    async def get(self, path: str) -> None:
        """Get a path."""
        asked = time.monotonic()
        response = await self._ask("GET", path)
        self.done.first_byte = max(self.done.first_byte, response.first_byte - asked)

    async def _ask(self, method: str, path: str, *, keep: bool = False) -> Response:
        """Send a request; verify the body if the path ends with its digest."""
        connection = self._idle.pop() if self._idle else await Connection.open(*self._address)
        response = await connection.request(method, path, keep=keep)
        digest = path.rpartition("/")[2].removeprefix("sha256:")
        if response.status != OK or (len(digest) == DIGITS and digest != response.sha256):
            raise WrongAnswerError(f"{method} {path}: status {response.status}, SHA-256 {response.sha256}")
        if response.closes:
            connection.close()
        else:
            self._idle.append(connection)
        self.done.requests += 1
        self.done.size += response.size if method == "GET" else 0
        return response


def _path_of(name: str, descriptor: dict[str, str]) -> str:
    return f"/v2/{name}/blobs/{descriptor['digest']}"


async def _work(work: Work) -> list[Done]:
    context = ssl.create_default_context(cafile=work.ca)
    clients = {
        number: Client(work.ports[number % len(work.ports)], context, f"127.{work.network}.0.{number + 1}")
        for number in work.clients
    }
    await asyncio.gather(*(client.connect(work.paths[0]) for client in clients.values() if work.paths))
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(_run(client, number, work) for number, client in clients.items()))
    return [client.done for client in clients.values()]


async def _run(client: Client, number: int, work: Work) -> None:
    end = time.monotonic() + work.seconds
    for image in work.images[number % len(work.images)] if work.images else []:
        await client.pull(image)
    await client.fetch(work.blobs)
    while work.paths and time.monotonic() < end:
        await client.get(work.paths[(number * 7 + client.done.requests) % len(work.paths)])
    client.done.finished = time.monotonic()


def main() -> None:
    """Do the work of the command line and print the figures of each client."""
    done = uvloop.run(_work(Work.of_json(sys.argv[1])))
    print(json.dumps([asdict(each) for each in done]))


if __name__ == "__main__":
    main()
