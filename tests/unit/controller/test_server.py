"""The controller's pages, among connections that never ask for one."""

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

A_TURN = 50  # connections that the loop takes in one turn: up to 100


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    async with served(application(CollectorRegistry(), lambda: ["mirrors"]), port):
        yield port


async def test_each_page_is_answered_and_its_connection_closed(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = {
            page: await client.get(f"http://127.0.0.1:{port}/{page}") for page in ("healthz", "readyz", "metrics")
        }
    assert {page: answer.status_code for page, answer in answers.items()} == {
        "healthz": 200,
        "readyz": 503,
        "metrics": 200,
    }
    assert {answer.headers["connection"] for answer in answers.values()} == {"close"}


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nhost:"])
async def test_who_asks_for_nothing_or_not_to_the_end_is_let_go(
    port: int, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    async with asyncio.timeout(20):
        assert b" 200 " not in await reader.read()
    writer.close()


async def test_any_number_that_ask_for_nothing_take_a_bounded_number_of_connections_and_hold_up_nobody(
    port: int,
) -> None:
    silent = [
        await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port)) for _ in range(CONNECTIONS_MAX + 100)
    ]
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    ended = 0
    for each in silent[:100]:
        each.settimeout(4)  # they themselves would be let go after ten
        ended += await asyncio.to_thread(each.recv, 1) == b""
    assert ended == 100
    for each in silent:
        each.close()


async def test_of_a_burst_that_asks_for_nothing_each_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are taken in one turn of the loop have no transport yet when the next of them is counted."""
    monkeypatch.setattr(health, "REQUEST_SECONDS", 1.0)
    with ExitStack() as ending:
        silent = [ending.enter_context(socket.socket()) for _ in range(3 * CONNECTIONS_MAX)]
        for number, each in enumerate(silent):
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            if number % A_TURN == A_TURN - 1:
                await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            while not all(map(_is_ended, silent)):  # noqa: ASYNC110 (a state is waited for, not an event)
                await asyncio.sleep(0.1)


def _is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
