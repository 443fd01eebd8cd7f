"""Provide a node's files and a TLS server for the tests of the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.hostess.node_files import NodeFiles
from tests.unit.hostess.running_agent import Running
from tests.unit.hostess.tls_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.fixture
def node(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path / "node")


@pytest.fixture
def one(node: NodeFiles, server: Server) -> Iterator[Running]:
    running = Running(node, server)
    yield running
    if running.thread.ident is not None:
        running.stop()
