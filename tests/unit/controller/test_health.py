"""Test the controller's HTTP pages, also among idle connections."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client import CollectorRegistry

from controller import health
from controller.health import CONNECTIONS_MAX, application, served
from tests.localcluster.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BATCH = 50  # connections that the event loop accepts in one turn; up to 100


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    async with served(application(CollectorRegistry(), lambda: ["mirrors"]), port):
        yield port


async def test_pages_respond_and_close_the_connection(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for page, status in {"healthz": 200, "readyz": 503, "metrics": 200}.items():
            response = await client.get(f"http://127.0.0.1:{port}/{page}")
            assert (response.status_code, response.headers["connection"]) == (status, "close")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nhost:"])
async def test_incomplete_request_times_out(port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(20):
        assert b" 200 " not in await reader.read()
    writer.close()


async def test_idle_connections_are_bounded(
    port: int,
) -> None:
    idle = [
        await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port)) for _ in range(CONNECTIONS_MAX + 100)
    ]
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    ended = 0
    for each in idle[:100]:
        each.settimeout(4)  # seconds, less than REQUEST_SECONDS
        ended += await asyncio.to_thread(each.recv, 1) == b""
    assert ended == 100
    for each in idle:
        each.close()


async def test_burst_of_idle_connections_times_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections accepted in one turn of the loop have no transport yet when they are counted."""
    monkeypatch.setattr(health, "REQUEST_SECONDS", 1.0)
    with ExitStack() as ending:
        idle = [ending.enter_context(socket.socket()) for _ in range(3 * CONNECTIONS_MAX)]
        for number, each in enumerate(idle):
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            while not all(map(_is_ended, idle)):  # noqa: ASYNC110 (waits for a state, not an event)
                await asyncio.sleep(0.1)


def _is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
