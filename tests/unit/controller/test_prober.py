"""Probe servers over TLS that behave badly."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog

from controller.model.inputs import Credentials, CredentialsState
from controller.model.observation import Login, Verdict
from controller.upstream.probe_messages import Question
from controller.upstream.prober import Prober
from controller.upstream.registry_client import Asker
from tests.localcluster.ports import free_port
from tests.support.controller import inputs, parsed, settings
from tests.support.mirrors import a_mirror
from tests.support.upstreams import TOKEN, Front, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

RIGHT = ("bob", "secret")
WRONG = ("bob", "old")


async def asked(
    front: Front, login: tuple[str, str] = ("", ""), *, trusted: bool = True, seconds: float = 5, **variables: str
) -> Verdict:
    """Return the result for an upstream that behaves like `front`."""
    async with serving(front), Asker(settings(**variables), seconds) as asker:
        return await asker.ask(Question(front.url, *login, bundle=front.ca if trusted else None))


CASES: list[tuple[str, Front, tuple[str, str], tuple[str, Login | None]]] = [
    ("open", Front(), ("", ""), ("Reachable", None)),
    ("open, with credentials that nobody wants", Front(), WRONG, ("Reachable", None)),
    ("plain", Front(scheme="http"), ("", ""), ("Reachable", None)),
    ("basic", Front("basic"), RIGHT, ("Reachable", Login.ACCEPTED)),
    ("basic, beyond ASCII", Front("basic", "bö", "p:ä€#"), ("bö", "p:ä€#"), ("Reachable", Login.ACCEPTED)),
    ("basic, wrong", Front("basic"), WRONG, ("Reachable", Login.REFUSED)),
    ("basic, none", Front("basic"), ("", ""), ("Reachable", Login.REQUIRED)),
    ("token", Front("bearer"), RIGHT, ("Reachable", Login.ACCEPTED)),
    ("token, wrong", Front("bearer"), WRONG, ("Reachable", Login.REFUSED)),
    ("token, wrong and told by 403", Front("bearer", token_status=403), WRONG, ("Reachable", Login.REFUSED)),
    ("token that is not taken", Front("bearer", takes_tokens=401), RIGHT, ("Reachable", Login.REFUSED)),
    ("anonymous token", Front("bearer"), ("", ""), ("Reachable", None)),
    ("anonymous token for images only", Front("bearer", takes_tokens=401), ("", ""), ("Reachable", None)),
    ("no anonymous token", Front("bearer", anonymous=401), ("", ""), ("Reachable", Login.REQUIRED)),
    ("no anonymous token, perhaps", Front("bearer", anonymous=403), ("", ""), ("Reachable", Login.NOT_VERIFIED)),
    (
        "no anonymous token for some image",
        Front("bearer", anonymous=401, header='Bearer realm="HERE/token",scope="repository:user/image:pull"'),
        ("", ""),
        ("Reachable", Login.NOT_VERIFIED),
    ),
    ("token service full", Front("bearer", token_status=429), RIGHT, ("RateLimited", None)),
    ("token service down", Front("bearer", token_status=503), RIGHT, ("ServerError", None)),
    ("no token in it", Front("bearer", token_body='{"token": ""}'), RIGHT, ("NoToken", None)),
    ("no JSON", Front("bearer", token_body="<html>"), RIGHT, ("NoToken", None)),
    ("a token that breaks out", Front("bearer", token_body='{"token": "a\\r\\nX: y"}'), RIGHT, ("NoToken", None)),
    ("a token of megabytes", Front("bearer", token_body=f'{{"token": "{"x" * 10**6}"}}'), RIGHT, ("NoToken", None)),
    (
        "token service elsewhere",
        Front("bearer", header='Bearer realm="https://auth.example.com/token"'),
        RIGHT,
        ("ForeignTokenService", None),
    ),
    ("401 and no more", Front("nothing"), RIGHT, ("Unauthorized", None)),
    ("a way to log in that nobody knows", Front("nothing", header="Negotiate abc"), RIGHT, ("Unauthorized", None)),
    ("401 to all", Front(status=401), ("", ""), ("Unauthorized", None)),
    ("403", Front(status=403), RIGHT, ("Forbidden", None)),
    ("404", Front(status=404), ("", ""), ("NotARegistry", None)),
    ("429", Front(status=429), ("", ""), ("RateLimited", None)),
    ("500", Front(status=500), ("", ""), ("ServerError", None)),
    ("503", Front(status=503), ("", ""), ("ServerError", None)),
    ("cut off", Front(breaks=True), ("", ""), ("ConnectionBroken", None)),
]


@pytest.mark.parametrize(("front", "login", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_answer_is_classified(front: Front, login: tuple[str, str], expected: tuple[str, Login | None]) -> None:
    found = await asked(front, login)
    assert (found.reason, found.login) == expected, found
    assert found.status == ("True" if expected[0] == "Reachable" else "False")
    assert found.message.startswith(front.url)
    assert found.message.endswith(".")
    for secret in (*RIGHT, WRONG[1], TOKEN):
        assert secret not in found.message


async def test_hanging_upstream_times_out() -> None:
    found = await asked(Front(hangs=True), seconds=0.3)
    assert (found.reason, found.status) == ("TimedOut", "False")
    assert "does not answer within 0.3 s" in found.message


async def test_untrusted_certificate_names_the_bundle() -> None:
    found = await asked(Front(), trusted=False)
    assert found.reason == "UntrustedCertificate", found
    assert "CA_CERTIFICATE_BUNDLE" in found.message


async def test_bundle_may_contain_invalid_certificates() -> None:
    rubbish = "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"
    async with serving(Front()) as front, Asker(settings()) as asker:
        found = await asker.ask(Question(front.url, bundle=f"# company\n{rubbish}{front.ca}{rubbish}"))
    assert found.reason == "Reachable"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://127.0.0.1:{port}", "ConnectionRefused"),
        ("https://no-such-host.invalid", "NameNotFound"),
        ("https://{plain}", "TLSFailed"),
        ("http://{secure}", "ConnectionBroken"),
    ],
)
async def test_unreachable_upstream_is_classified(url: str, reason: str) -> None:
    async with serving(Front(scheme="http")) as plain, serving(Front()) as secure, Asker(settings()) as asker:
        places = {name: front.url.partition("//")[2] for name, front in (("plain", plain), ("secure", secure))}
        found = await asker.ask(Question(url.format(port=free_port(), **places)))
    assert found.reason == reason, found


async def test_other_protocol_is_no_registry() -> None:
    async def banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(banner, "127.0.0.1", 0)
    async with server, Asker(settings()) as asker:
        port = server.sockets[0].getsockname()[1]
        found = await asker.ask(Question(f"http://127.0.0.1:{port}"))
    assert found.reason == "NotARegistry", found


async def test_proxy_is_used_and_its_failure_reported() -> None:
    """The proxy resolves the name of the upstream."""
    received: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readline())
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    proxy = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Asker(settings(HTTPS_PROXY=proxy)) as asker:
        found = await asker.ask(Question("https://registry.invalid"))
    assert received == [b"CONNECT registry.invalid:443 HTTP/1.1\r\n"]
    assert found.reason == "ProxyFailed"
    async with Asker(settings(HTTPS_PROXY=f"http://127.0.0.1:{free_port()}")) as asker:
        assert (await asker.ask(Question("https://registry.invalid"))).reason == "ProxyFailed"


async def test_hanging_name_server_does_not_block_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    started = time.monotonic()
    async with Asker(settings(), timeout=0.2) as asker:
        assert (await asker.ask(Question("https://slow.example.com"))).reason == "TimedOut"
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - started < 2


class Following:
    """Running prober and the mirrors that it requeued."""

    def __init__(self, **variables: str) -> None:
        self.news: list[str] = []
        self.requeued = asyncio.Event()
        self.prober = Prober(settings(**variables), self.tell, structlog.get_logger())

    def tell(self, mirror: str) -> None:
        """Record a requeue."""
        self.news.append(mirror)
        self.requeued.set()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Run the prober."""
        task = asyncio.create_task(self.prober.run())
        await asyncio.sleep(0)  # the prober starts without results
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, look: Callable[[], bool]) -> None:
        """Wait until `look` returns True; it is called after each requeue."""
        async with asyncio.timeout(10):
            while not look():
                self.requeued.clear()
                await self.requeued.wait()


async def test_mirrors_share_a_probe() -> None:
    async with serving(Front()) as front:
        following = Following()
        mirrors = [parsed(a_mirror().named(f"m{number}").of(front.url)) for number in range(50)]
        known = inputs(bundle=front.ca)

        def all_told() -> bool:
            verdicts = [following.prober.follow(mirror, known) for mirror in mirrors]
            return all(verdict and verdict.reason == "Reachable" for verdict in verdicts)

        async with following.at_work():
            await following.until(all_told)
    assert front.requests == ["/v2/"]
    assert sorted(following.news) == sorted(mirror.name for mirror in mirrors)


async def test_upstream_is_probed_periodically() -> None:
    async with serving(Front(status=503)) as front:
        following = Following(UPSTREAM_PROBE_SECONDS="1")
        mirror, known = parsed(a_mirror().of(front.url)), inputs(bundle=front.ca)

        def says(reason: str) -> bool:
            verdict = following.prober.follow(mirror, known)
            return verdict is not None and verdict.reason == reason

        async with following.at_work():
            await following.until(lambda: says("ServerError"))
            for status, reason in ((429, "RateLimited"), (0, "Reachable"), (403, "Forbidden")):
                front.status = status
                await following.until(partial(says, reason))


async def test_changed_credentials_are_probed_at_once() -> None:
    async with serving(Front("bearer")) as front:
        following = Following()
        mirror = parsed(a_mirror().of(front.url).logging_in_with("login"))

        def says(login: tuple[str, str], expected: Login) -> bool:
            known = inputs(credentials=Credentials(CredentialsState.FOUND, *login), bundle=front.ca)
            verdict = following.prober.follow(mirror, known)
            return verdict is not None and verdict.login is expected

        async with following.at_work():
            await following.until(lambda: says(WRONG, Login.REFUSED))
            await following.until(lambda: says(RIGHT, Login.ACCEPTED))
    assert len(following.prober.schedule) == 1, "the old question is forgotten"


async def test_period_zero_disables_probes() -> None:
    async with serving(Front()) as front:
        following = Following(UPSTREAM_PROBE_SECONDS="0")
        found = following.prober.follow(parsed(a_mirror().of(front.url)), inputs())
        assert found is not None
        assert (found.status, found.reason) == ("Unknown", "NotProbed")
    assert front.requests == []
