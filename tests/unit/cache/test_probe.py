"""Probe servers over TLS that behave badly."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cache.config import CredentialFiles, UpstreamConfig
from cache.model.errors import RegistryError
from cache.upstream.client import UpstreamClient
from cache.upstream.credentials import read_credentials
from cache.upstream.probe import probe
from cache.upstream.proxies import Proxies, proxies_in
from cache.upstream.session import Session
from cache.upstream.trust import client_context
from common.cache_protocol import CredentialsResult as Login
from common.cache_protocol import UpstreamReason as Reason
from tests.cache.relay import Mode, relaying
from tests.localcluster.ports import free_port
from tests.support.upstreams import TOKEN, Front, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NONE = ("", "")
RIGHT = ("bob", "secret")
WRONG = ("bob", "old")

SOME_IMAGE = 'Bearer realm="HERE/token",scope="repository:user/image:pull"'
CASES: list[tuple[str, Front, tuple[str, str], tuple[Reason, Login]]] = [
    ("open", Front(), NONE, (Reason.REACHABLE, Login.NOT_CHECKED)),
    ("open, with credentials", Front(), WRONG, (Reason.REACHABLE, Login.NOT_CHECKED)),
    ("plain", Front(scheme="http"), NONE, (Reason.REACHABLE, Login.NOT_CHECKED)),
    ("basic", Front("basic"), RIGHT, (Reason.REACHABLE, Login.ACCEPTED)),
    ("basic, beyond ASCII", Front("basic", "bö", "p:ä€#"), ("bö", "p:ä€#"), (Reason.REACHABLE, Login.ACCEPTED)),
    ("basic, wrong", Front("basic"), WRONG, (Reason.REACHABLE, Login.REFUSED)),
    ("basic, none", Front("basic"), NONE, (Reason.REACHABLE, Login.REQUIRED)),
    ("token", Front("bearer"), RIGHT, (Reason.REACHABLE, Login.ACCEPTED)),
    ("token, wrong", Front("bearer"), WRONG, (Reason.REACHABLE, Login.REFUSED)),
    ("token, wrong, 403", Front("bearer", token_status=403), WRONG, (Reason.REACHABLE, Login.REFUSED)),
    ("token refused by the registry", Front("bearer", takes_tokens=401), RIGHT, (Reason.REACHABLE, Login.REFUSED)),
    ("token for some image", Front("bearer", header=SOME_IMAGE), RIGHT, (Reason.REACHABLE, Login.ACCEPTED)),
    ("anonymous token", Front("bearer"), NONE, (Reason.REACHABLE, Login.NOT_CHECKED)),
    (
        "anonymous token for images only",
        Front("bearer", takes_tokens=401),
        NONE,
        (Reason.REACHABLE, Login.NOT_CHECKED),
    ),
    ("no anonymous token", Front("bearer", anonymous=401), NONE, (Reason.REACHABLE, Login.REQUIRED)),
    ("no anonymous token, 403", Front("bearer", anonymous=403), NONE, (Reason.REACHABLE, Login.NOT_VERIFIED)),
    (
        "no anonymous token for some image",
        Front("bearer", anonymous=401, header=SOME_IMAGE),
        NONE,
        (Reason.REACHABLE, Login.NOT_VERIFIED),
    ),
    ("token service full", Front("bearer", token_status=429), RIGHT, (Reason.RATE_LIMITED, Login.NOT_CHECKED)),
    ("token service down", Front("bearer", token_status=503), RIGHT, (Reason.SERVER_ERROR, Login.NOT_CHECKED)),
    ("empty token", Front("bearer", token_body='{"token": ""}'), RIGHT, (Reason.NO_TOKEN, Login.NOT_CHECKED)),
    ("no JSON", Front("bearer", token_body="<html>"), RIGHT, (Reason.NO_TOKEN, Login.NOT_CHECKED)),
    (
        "token that is a header",
        Front("bearer", token_body='{"token": "a\\r\\nX: y"}'),
        RIGHT,
        (Reason.NO_TOKEN, Login.NOT_CHECKED),
    ),
    (
        "token of megabytes",
        Front("bearer", token_body=f'{{"token": "{"x" * 10**6}"}}'),
        RIGHT,
        (Reason.NOT_A_REGISTRY, Login.NOT_CHECKED),
    ),
    ("401 without challenge", Front("nothing"), RIGHT, (Reason.UNAUTHORIZED, Login.NOT_CHECKED)),
    ("unknown login", Front("nothing", header="Negotiate abc"), RIGHT, (Reason.UNAUTHORIZED, Login.NOT_CHECKED)),
    ("401 to all", Front(status=401), NONE, (Reason.UNAUTHORIZED, Login.NOT_CHECKED)),
    ("403", Front(status=403), RIGHT, (Reason.FORBIDDEN, Login.NOT_CHECKED)),
    ("404", Front(status=404), NONE, (Reason.NOT_A_REGISTRY, Login.NOT_CHECKED)),
    ("429", Front(status=429), NONE, (Reason.RATE_LIMITED, Login.NOT_CHECKED)),
    ("500", Front(status=500), NONE, (Reason.SERVER_ERROR, Login.NOT_CHECKED)),
    ("503", Front(status=503), NONE, (Reason.SERVER_ERROR, Login.NOT_CHECKED)),
    ("web page after login", Front("basic", body="<html>"), RIGHT, (Reason.NOT_A_REGISTRY, Login.NOT_CHECKED)),
    ("cut off", Front(breaks=True), NONE, (Reason.CONNECTION_BROKEN, Login.NOT_CHECKED)),
]


def files_in(folder: Path) -> CredentialFiles:
    """Return the files of an account in a folder."""
    return CredentialFiles(username=str(folder / "username"), password=str(folder / "password"))


@asynccontextmanager
async def client_of(
    url: str, folder: Path, login: tuple[str, str] = NONE, ca: str = "", proxies: Proxies | None = None
) -> AsyncIterator[UpstreamClient]:
    """Return a client for an upstream, with credentials in files."""
    (folder / "ca.crt").write_text(ca)
    for name, value in zip(("username", "password"), login, strict=True):
        (folder / name).write_text(value)
    config = UpstreamConfig(host="registry.test", url=url)
    session = Session(client_context)
    await session.follow(str(folder / "ca.crt"))
    yield UpstreamClient(config, session, proxies or proxies_in({}), read_credentials(files_in(folder)))
    await session.close()


@pytest.mark.parametrize(("front", "login", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_answer_is_classified(
    front: Front, login: tuple[str, str], expected: tuple[Reason, Login], tmp_path: Path
) -> None:
    """Reason and login are those of a `docker login`, and no message has a secret."""
    async with serving(front), client_of(front.url, tmp_path, login, front.ca) as client:
        await probe(client)
    assert (client.health.reason, client.login) == expected, client.health.message
    assert client.health.message.endswith(".")
    for secret in (*RIGHT, WRONG[1], TOKEN):
        assert secret not in client.health.message


@pytest.mark.parametrize("page", ["text/html", "text/plain", "application/octet-stream", "application/json"])
async def test_content_decides(page: str, tmp_path: Path) -> None:
    """A registry answers nothing, or JSON without keys. The media type does not matter."""
    usual = ["", "{}", "{}\n", " \n", "true", '""', "null", "[]"]
    others = ["ok", '"ok"', "{", "<html>", '{"status": "UP"}', '{"error": "unknown path"}', " " * 5000 + "{}"]
    expected = dict.fromkeys(usual, Reason.REACHABLE) | dict.fromkeys(others, Reason.NOT_A_REGISTRY)
    found = {}
    front = Front(scheme="http", page=page)
    async with serving(front), client_of(front.url, tmp_path) as client:
        for front.body in expected:
            await probe(client)
            found[front.body] = client.health.reason
    assert found == expected


async def test_version_header_decides(tmp_path: Path) -> None:
    """A registry that names its API may answer anything."""
    front = Front(scheme="http", body="ok", version="registry/2.0")
    async with serving(front), client_of(front.url, tmp_path) as client:
        await probe(client)
    assert client.health.reason is Reason.REACHABLE, client.health.message


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://127.0.0.1:{port}", Reason.CONNECTION_REFUSED),
        ("https://no-such-host.invalid", Reason.NAME_NOT_FOUND),
        ("https://{plain}", Reason.TLS_FAILED),
        ("http://{secure}", Reason.CONNECTION_BROKEN),
        ("https://{secure}", Reason.UNTRUSTED_CERTIFICATE),
    ],
)
async def test_unreachable_upstream_is_classified(url: str, reason: Reason, tmp_path: Path) -> None:
    """The reason says which layer fails."""
    async with serving(Front(scheme="http")) as plain, serving(Front()) as secure:
        places = {name: front.url.partition("//")[2] for name, front in (("plain", plain), ("secure", secure))}
        async with client_of(url.format(port=free_port(), **places), tmp_path) as client:
            await probe(client)
    assert client.health.reason is reason, client.health.message


async def test_hanging_upstream_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe has a limit of its own."""
    monkeypatch.setattr("cache.upstream.probe.PROBE_SECONDS", 0.3)
    front = Front(hangs=True)
    async with serving(front), client_of(front.url, tmp_path, ca=front.ca) as client:
        await probe(client)
    assert client.health.reason is Reason.TIMED_OUT


async def test_other_protocol_is_no_registry(tmp_path: Path) -> None:
    """A mail server speaks no HTTP."""

    async def banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(banner, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client_of(url, tmp_path) as client:
        await probe(client)
    assert client.health.reason is Reason.NOT_A_REGISTRY


async def test_failing_proxy_is_reported(tmp_path: Path) -> None:
    """The proxy resolves the name of the upstream."""
    proxies = proxies_in({"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}"})
    async with client_of("https://registry.invalid", tmp_path, proxies=proxies) as client:
        await probe(client)
    assert client.health.reason is Reason.PROXY_FAILED


@pytest.mark.parametrize("wants", ["basic", "bearer"])
async def test_redirect_target_gets_no_credentials(wants: str, tmp_path: Path) -> None:
    """Its challenge would name a token service of its own. The 401 is passed on."""
    target, front = Front(wants, scheme="http"), Front(scheme="http")
    async with serving(target), serving(front), client_of(front.url, tmp_path, RIGHT) as client:
        front.moved = target.url
        async with client.ask("GET", "/v2/a/manifests/latest", "a", "manifests") as response:
            assert response.status == 401
        await probe(client)
    assert target.requests == ["/v2/a/manifests/latest", "/v2/"]
    assert (client.health.reason, client.login) == (Reason.UNAUTHORIZED, Login.NOT_CHECKED)


async def test_token_service_may_have_another_host(tmp_path: Path) -> None:
    """Docker Hub names auth.docker.io. The upstream itself chooses who gets the credentials."""
    service, front = Front("bearer", scheme="http"), Front("bearer", scheme="http")
    async with serving(service), serving(front), client_of(front.url, tmp_path, RIGHT) as client:
        front.header = f'Bearer realm="{service.url}/token",service="here"'
        await probe(client)
    assert service.requests == ["/token"]
    assert (client.health.reason, client.login) == (Reason.REACHABLE, Login.ACCEPTED)


async def test_silent_proxy_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that accepts and opens no tunnel ends in an error."""
    monkeypatch.setattr("cache.upstream.client.HEADERS_SECONDS", 0.3)
    async with relaying(0) as (proxy, port):
        proxy.change(Mode.SILENT)
        proxies = proxies_in({"HTTPS_PROXY": f"http://127.0.0.1:{port}"})
        async with client_of("https://registry.invalid", tmp_path, proxies=proxies) as client:
            with pytest.raises(RegistryError) as refused:
                async with asyncio.timeout(20), client.ask("GET", "/v2/a/manifests/latest", "a", "manifests"):
                    pass
    assert (refused.value.status, refused.value.reason) == (504, Reason.TIMED_OUT)


async def test_login_survives_an_outage(tmp_path: Path) -> None:
    """An upstream that is away says nothing of the credentials."""
    front = Front("basic")
    async with serving(front), client_of(front.url, tmp_path, WRONG, front.ca) as client:
        await probe(client)
        front.status = 503
        await probe(client)
    assert (client.health.reason, client.login) == (Reason.SERVER_ERROR, Login.REFUSED)


async def test_changed_credentials_are_checked(tmp_path: Path) -> None:
    """A change makes a probe due, and each probe asks for a new token."""
    front = Front("bearer")
    async with serving(front), client_of(front.url, tmp_path, WRONG, front.ca) as client:
        assert client.health.begin_probe(0.0)
        await probe(client)
        results = [client.login]
        for password in (RIGHT[1], WRONG[1]):
            (tmp_path / "password").write_text(password)
            client.follow_credentials(read_credentials(files_in(tmp_path)))
            results.append(client.login)
            assert client.health.begin_probe(1.0)
            await probe(client)
            results.append(client.login)
    assert results == [Login.REFUSED, Login.NOT_CHECKED, Login.ACCEPTED, Login.NOT_CHECKED, Login.REFUSED]
