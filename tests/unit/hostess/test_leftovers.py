"""K6: files of mirrors that no longer exist are removed by the agents of the others, and nothing else."""

from __future__ import annotations

import io
import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from hostess.fs.presence import Presence
from hostess.hostsfile.hosts_block import parse
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.leftovers import SCANS, Leftovers
from tests.unit.hostess.node_files import CA, NodeFiles
from tests.unit.hostess.tls_server import Server, account_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from hostess.node_config import Node

IP = ("10.96.0.7",)


class ApiServer:
    """API server with the Services of these mirrors. It answers each request with `code`."""

    def __init__(self, server: Server, *mirrors: str) -> None:
        self.mirrors = set(mirrors)
        self.code = 200
        self.asked: list[str] = []
        server.behave = self._answer
        self.client = ApiClient("127.0.0.1", server.port, account_for(server))

    def _answer(self, client: ssl.SSLSocket) -> None:
        found = re.search(rb"/services\?fieldSelector=metadata.name%3Dregistry-mirror-(\S+)", client.recv(4096))
        assert found is not None
        self.asked.append(found[1].decode())
        items = [{"metadata": {"name": mirror}} for mirror in self.mirrors & {self.asked[-1]}]
        body = json.dumps({"items": items}).encode() if self.code == 200 else b"{}"
        client.sendall(b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\n\r\n" % (self.code, len(body)) + body)


@pytest.fixture
def api(server: Server) -> ApiServer:
    return ApiServer(server, "one")


@pytest.fixture
def one(node: NodeFiles) -> Node:
    """Return the node as the agent of the mirror `one` has configured it."""
    agent = node.agent("one")
    agent.configure(IP, CA, None)
    return agent


@pytest.fixture
def leftovers(one: Node, api: ApiServer) -> Leftovers:
    return Leftovers(one, api.client, Log(io.StringIO()), lambda: True)


def scan(leftovers: Leftovers, times: int = SCANS) -> None:
    for _ in range(times):
        leftovers.scan()


def the_block(node: NodeFiles) -> None:
    shutil.rmtree(node.containerd / "mirror-two.example.com")
    shutil.rmtree(node.docker / "mirror-two.example.com")
    for folder in node.containerd.glob("two.example.com*"):
        shutil.rmtree(folder)


def the_hosts_toml(node: NodeFiles) -> None:
    node.agent("two").hosts.remove("two")
    shutil.rmtree(node.containerd / "mirror-two.example.com")
    shutil.rmtree(node.docker / "mirror-two.example.com")


def the_ca(node: NodeFiles) -> None:
    node.agent("two").hosts.remove("two")
    for folder in node.containerd.glob("two.example.com*"):
        shutil.rmtree(folder)


def all_files(_: NodeFiles) -> None:
    """Keep all files, as on a node that was down during the deletion."""


def all_in_foreign_folders(node: NodeFiles) -> None:
    """Keep all files, in folders with an administrator's files."""
    node.put("etc/containerd/certs.d/two.example.com/by-hand.crt")
    node.put("etc/docker/certs.d/mirror-two.example.com/by-hand.crt")


@pytest.mark.parametrize("keep", [the_block, the_hosts_toml, the_ca, all_files, all_in_foreign_folders])
def test_files_of_a_deleted_mirror_are_removed(
    node: NodeFiles, leftovers: Leftovers, api: ApiServer, keep: Callable[[NodeFiles], None]
) -> None:
    node.agent("two").configure(IP, CA, None)
    keep(node)
    foreign = list(node.root.rglob("by-hand.crt"))
    scan(leftovers)
    assert not node.agent("two").files.exist()
    assert list(parse(node.hosts.read_bytes()).blocks) == ["one"]
    assert [path for path in node.root.rglob("*two*") if not any(path in each.parents for each in foreign)] == []
    assert all(path.exists() for path in foreign)
    assert (node.containerd / "one.example.com/hosts.toml").exists()
    assert leftovers.node.addresses() == IP
    assert api.asked == ["two"] * (SCANS - 1)


def test_own_and_shared_files_stay(node: NodeFiles, leftovers: Leftovers) -> None:
    before = node.tree()
    node.agent("two").configure(IP, CA, None)
    scan(leftovers)
    assert node.tree() == before


def test_mirror_with_a_service_stays(node: NodeFiles, leftovers: Leftovers, api: ApiServer) -> None:
    """Its agent may be missing on many nodes, so the API server is asked once in ten minutes."""
    node.agent("two").configure(IP, CA, None)
    api.mirrors.add("two")
    before = node.tree()
    scan(leftovers, 3 * SCANS)
    assert node.tree() == before
    assert api.asked == ["two"]


@pytest.mark.parametrize("code", [401, 403, 404, 500, 503])
def test_api_server_without_answer_decides_nothing(
    node: NodeFiles, leftovers: Leftovers, api: ApiServer, code: int
) -> None:
    node.agent("two").configure(IP, CA, None)
    api.code = code
    before = node.tree()
    scan(leftovers, 2 * SCANS)
    assert node.tree() == before
    assert api.asked
    api.code = 200
    scan(leftovers)
    assert node.agent("two").is_clean()


def test_mirror_with_an_agent_stays(node: NodeFiles, leftovers: Leftovers, api: ApiServer) -> None:
    """Its agent may belong to another installation, whose Services are in another namespace."""
    two = node.agent("two")
    two.configure(IP, CA, None)
    two.presence.hold()
    before = node.tree()
    scan(leftovers, 2 * SCANS)
    assert node.tree() == before
    assert api.asked == []
    two.presence.drop()
    scan(leftovers)
    assert two.is_clean()
    assert not two.presence.path.exists()


def test_returning_agent_keeps_its_files(node: NodeFiles, leftovers: Leftovers, api: ApiServer) -> None:
    """Absences count only in a row."""
    two = node.agent("two")
    two.configure(IP, CA, None)
    scan(leftovers, SCANS - 1)
    two.presence.hold()
    scan(leftovers, 1)
    two.presence.drop()
    scan(leftovers, SCANS - 1)
    api.mirrors.add("two")
    scan(leftovers, SCANS)
    assert not two.is_clean()


def test_agent_that_starts_at_the_last_moment(node: NodeFiles, one: Node) -> None:
    two = node.agent("two")
    two.configure(IP, CA, None)
    two.presence.hold()
    before = node.tree()
    assert not one.remove_leftovers("two")
    assert node.tree() == before


def test_agent_without_its_own_mirror_decides_nothing(node: NodeFiles, one: Node, api: ApiServer) -> None:
    """The namespace may be going, or the cluster may be another one."""
    node.agent("two").configure(IP, CA, None)
    before = node.tree()
    scan(Leftovers(one, api.client, Log(io.StringIO()), lambda: False), 2 * SCANS)
    assert node.tree() == before
    assert api.asked == []


@pytest.mark.parametrize(
    "file",
    [
        "etc/docker/certs.d/registry.example.com/registry-mirror-ca.crt",
        "etc/containerd/certs.d/registry.example.com/registry-mirror-two.crt",
        "etc/containerd/certs.d/registry.example.com/hosts.toml",
        "etc/containerd/certs.d/one.example.com/registry-mirror-UPPER.crt",
    ],
)
def test_files_of_an_administrator_stay(node: NodeFiles, leftovers: Leftovers, api: ApiServer, file: str) -> None:
    path = node.put(file)
    scan(leftovers, 2 * SCANS)
    assert path.read_text() == "by hand"
    assert api.asked == []


def test_agent_shows_its_presence(tmp_path: Path) -> None:
    """Two agents of one mirror may run during a rollout; a removed file is made again."""
    old, new, other = (Presence(tmp_path / "lock.one") for _ in range(3))
    assert not other.is_held()
    old.hold()
    new.hold()
    old.drop()
    assert other.is_held()
    new.path.unlink()
    assert not other.is_held()
    new.hold()
    new.hold()
    assert other.is_held()
    new.drop()
    assert not other.is_held()


def test_lock_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    Presence(tmp_path / "none/lock.one").hold()
    (tmp_path / "lock.one").mkdir()
    assert Presence(tmp_path / "lock.one").is_held()
