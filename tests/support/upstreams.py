"""Serve a registry front end on the loopback address, over TLS, with faults."""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from tests.localcluster.ports import free_port
from tests.support.certificates import Issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "a-token"


@dataclass
class Front:
    """Behaviour of the server; `wants` is the login: nothing, `basic` or `bearer`."""

    wants: str = ""
    username: str = "bob"
    password: str = "secret"
    anonymous: int = 200  # status for tokens without credentials
    status: int = 0  # for everything, where it is not 0
    token_status: int = 0
    token_body: str = f'{{"token": "{TOKEN}"}}'
    header: str = ""  # WWW-Authenticate, where it is not the ordinary one
    hangs: bool = False
    breaks: bool = False
    moved: str = ""  # URL of the server that every path is redirected to
    takes_tokens: int = 200  # status of /v2/ with a token
    page: str = "application/json"  # media type of /v2/
    body: str = "{}"  # of /v2/
    version: str = ""  # Docker-Distribution-Api-Version of /v2/
    port: int = 0
    scheme: str = "https"
    requests: list[str] = field(default_factory=list)
    ca: str = ""

    @property
    def url(self) -> str:
        """Return its upstream URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(request.path)
        if self.hangs:
            await asyncio.Event().wait()
        if self.breaks and request.transport:
            request.transport.abort()
        if self.status:
            return web.Response(status=self.status)
        if self.moved:
            return web.Response(status=307, headers={"Location": f"{self.moved}{request.path}"})
        return self._token(request) if request.path == "/token" else self._ping(request)

    def _token(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization")
        right = self.anonymous if given is None else 200 if given == self.basic else 401
        return web.Response(status=self.token_status or right, text=self.token_body)

    def _ping(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if given == f"Bearer {TOKEN}":
            return web.Response(status=self.takes_tokens)
        if self.wants == "" or (self.wants == "basic" and given == self.basic):
            headers = {"Docker-Distribution-Api-Version": self.version} if self.version else {}
            return web.Response(text=self.body, content_type=self.page, headers=headers)
        ordinary = {
            "basic": 'Basic realm="here"',
            "bearer": f'Bearer realm="{self.url}/token",service="here"',
            "nothing": "",
        }
        header = self.header.replace("HERE", self.url) or ordinary[self.wants]
        return web.Response(status=401, headers={"WWW-Authenticate": header} if header else {})

    @property
    def basic(self) -> str:
        """Return the header with the right credentials."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@asynccontextmanager
async def serving(front: Front) -> AsyncIterator[Front]:
    """Run the server on a free port with a new CA."""
    issuer = Issuer()
    issued = issuer.issue()
    front.ca, front.port = issuer.certificate.decode(), free_port()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", front.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("tls.crt", issued.certificate), ("tls.key", issued.key)):
            (Path(folder) / name).write_bytes(content)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(Path(folder) / "tls.crt", Path(folder) / "tls.key")
    secure = context if front.scheme == "https" else None
    await web.TCPSite(runner, "127.0.0.1", front.port, ssl_context=secure).start()
    try:
        yield front
    finally:
        await runner.cleanup()
