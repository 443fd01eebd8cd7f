"""Test the node agent against a real API server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from common.agent_protocol import REGISTRIES_ANNOTATION
from controller.objects import resources
from controller.objects.resources import Kind
from hostess.containerd.config_reader import Containerd
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient, ApiError
from hostess.kube.watcher import Reflector
from hostess.leftovers import SCANS, Leftovers
from tests.localcluster.ports import free_port
from tests.support.kube import NAMESPACE, until
from tests.unit.hostess.node_files import LOCALHOST, NodeFiles
from tests.unit.hostess.tls_server import HOST_NAME, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json
    from tests.cluster.conftest import Running

NODE = Kind("v1", "nodes", "Node", namespaced=False)
SLICE = Kind("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
SERVICE = "registry-mirror-one"
HERE = Path(__file__).parents[2]
MEGABYTE = 1 << 20


class Account:
    """The agent's service account in a folder, as kubelet mounts it."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.running, self.folder = running, folder
        folder.mkdir()
        (folder / "ca.crt").write_bytes(running.cluster.ca_file.read_bytes())
        self.renew()

    @property
    def api(self) -> ApiClient:
        """Return a client of this account."""
        url = urlsplit(self.running.cluster.url)
        return ApiClient(url.hostname or "", url.port or 0, self.folder)

    def renew(self) -> None:
        """Write a new token."""
        token = self.running.kube.kubectl("create", "token", "registrymirror-hostess", "-n", NAMESPACE)
        (self.folder / "token").write_text(token)


@pytest.fixture
def running(server_only: Running) -> Iterator[Running]:
    yield server_only
    server_only.kube.http.delete(SLICE.path(NAMESPACE, f"{SERVICE}-x"))  # no garbage collector runs


@pytest.fixture
def account(running: Running, tmp_path: Path) -> Account:
    return Account(running, tmp_path / "account")


class Watched:
    """Reflector of the mirror's Service in a thread."""

    def __init__(self, api: ApiClient) -> None:
        self.objects: list[Json] | None = None
        self.stopping = threading.Event()
        self.log = io.StringIO()
        path, selector = f"/api/v1/namespaces/{NAMESPACE}/services", {"fieldSelector": f"metadata.name={SERVICE}"}
        self.reflector = Reflector(api, path, selector, self._take, Log(self.log), self.stopping)
        self.thread = threading.Thread(target=self.reflector.run, daemon=True)
        self.thread.start()

    def _take(self, objects: list[Json]) -> None:
        self.objects = objects

    def annotations(self) -> list[str | None] | None:
        """Return the cleaning annotation of each Service; None before the first list."""
        if self.objects is None:
            return None
        return [(each["metadata"].get("annotations") or {}).get("k8s.osp.tech/cleaning") for each in self.objects]

    def wait_for(self, *expected: str | None) -> None:
        """Wait for Services with these annotations."""
        until(lambda: self.annotations() == list(expected), why=f"{expected}; {self.log.getvalue()}", seconds=60)


def service(running: Running, **more: Any) -> Json:
    registries = json.dumps([{"host": "quay.io", "url": "https://quay.io"}])
    metadata = {"name": SERVICE, "annotations": {REGISTRIES_ANNOTATION: registries}}
    ports = [{"name": "https", "port": 443}]
    return running.kube.create(resources.SERVICE, {"metadata": metadata, "spec": {"ports": ports, **more}})


def annotate(running: Running, value: str | None) -> None:
    running.kube.patch(resources.SERVICE, SERVICE, {"metadata": {"annotations": {"k8s.osp.tech/cleaning": value}}})


def test_service_is_watched_through_outages(running: Running, account: Account) -> None:
    watched = Watched(account.api)
    watched.wait_for()
    service(running)
    watched.wait_for(None)
    annotate(running, "uid")
    watched.wait_for("uid")
    running.kube.delete(resources.SERVICE, SERVICE)
    watched.wait_for()
    service(running)
    watched.wait_for(None)
    running.cluster.kill("kube-apiserver")
    until(lambda: "unreachable" in watched.log.getvalue(), why="the loss is told")
    assert watched.annotations() == [None]  # nothing is forgotten meanwhile
    running.cluster.start_component("kube-apiserver")
    annotate(running, "after")
    watched.wait_for("after")
    watched.stopping.set()


def test_refused_token_is_logged_and_replaced(running: Running, account: Account) -> None:
    service(running)
    (account.folder / "token").write_text("no token")
    watched = Watched(account.api)
    until(lambda: "401" in watched.log.getvalue(), why="the refusal is told")
    (account.folder / "token").unlink()
    (account.folder / "ca.crt").rename(account.folder / "away")
    until(lambda: "No such file" in watched.log.getvalue(), why="the missing file is told")
    (account.folder / "away").rename(account.folder / "ca.crt")
    account.renew()
    watched.wait_for(None)
    watched.stopping.set()


def test_account_reads_its_node_but_no_secret(running: Running, account: Account) -> None:
    running.kube.create(NODE, {"metadata": {"name": "node-1"}})
    status = {"status": {"nodeInfo": {"containerRuntimeVersion": "containerd://2.4.2", **_empty_node_info()}}}
    running.kube.patch(NODE, "node-1", status, subresource="status")
    settings = NodeFiles(account.folder / "node").settings(NODE_NAME="node-1")
    log = io.StringIO()
    containerd = Containerd(settings, account.api, Log(log))
    assert containerd.read_version() > 1000, log.getvalue()
    assert containerd.runtime.version == (2, 4)
    for path in (f"/api/v1/namespaces/{NAMESPACE}/secrets", "/api/v1/services", "/api/v1/nodes"):
        with pytest.raises(ApiError, match="403"):
            account.api.get(path)


def test_account_sees_which_mirrors_exist(running: Running, account: Account) -> None:
    """K6: the right to list Services is enough to decide that a mirror no longer exists."""
    node = NodeFiles(account.folder / "node")
    for mirror in ("one", "deleted", "existing"):
        node.agent(mirror).configure(("10.96.0.7",), b"ca", None)
    existing = {"metadata": {"name": "registry-mirror-existing"}, "spec": {"ports": [{"name": "https", "port": 443}]}}
    running.kube.create(resources.SERVICE, existing)
    leftovers = Leftovers(node.agent("one"), account.api, Log(io.StringIO()), lambda: True)
    for _ in range(SCANS):
        leftovers.scan()
    assert [node.agent(mirror).is_clean() for mirror in ("one", "deleted", "existing")] == [False, True, False]


def _empty_node_info() -> Json:
    names = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeletVersion", "kubeProxyVersion")
    return {**dict.fromkeys(names, ""), "operatingSystem": "linux", "architecture": "amd64"}


class Program:
    """Process of `python -S -m hostess`, as in its container."""

    def __init__(self, account: Account, node: NodeFiles, server: Server) -> None:
        url = urlsplit(account.running.cluster.url)
        self.port = free_port()
        environment = node.environment(
            "one",
            SHADOW_FQDN=HOST_NAME,
            CA_FILE=str(node.put("secret/ca.crt", server.issuer.certificate)),
            SERVICE_ACCOUNT_DIR=str(account.folder),
            KUBERNETES_SERVICE_HOST=url.hostname or "",
            KUBERNETES_SERVICE_PORT=str(url.port),
            NODE_NAME="node-1",
            STATUS_PORT=str(self.port),
        )
        command = [sys.executable, "-S", "-m", "hostess"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE), **environment}
        self.process = subprocess.Popen(command, env=environment, cwd=node.root, stdout=subprocess.PIPE, text=True)

    def state(self) -> tuple[str, str]:
        """Return state and reason."""
        try:
            body = httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).json()
        except httpx.TransportError:
            return "", ""
        return body["state"], body["reason"]

    def memory(self) -> dict[str, float]:
        """Return resident megabytes by kind."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        found = (line.split() for line in lines if line.startswith(("VmRSS", "VmHWM", "RssAnon", "RssFile")))
        return {name.rstrip(":"): int(value) * 1024 / MEGABYTE for name, value, _ in found}

    def stop(self) -> str:
        """End the program as the kubelet does; return its log."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=10)
        assert self.process.returncode == 0
        return output


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        yield server


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_program_finds_mirror_and_cleans(running: Running, account: Account, server: Server, tmp_path: Path) -> None:
    """The program probes port 443, where nothing listens."""
    node = NodeFiles(tmp_path / "node")
    program = Program(account, node, server)
    until(lambda: program.state() == ("pending", "MirrorUnknown"), why="it waits for a Service")
    service(running)
    until(lambda: program.state()[1] in {"MirrorAway", "MirrorSilent"}, why=f"it knows the Service; {program.state()}")
    running.kube.create(SLICE, _slice())
    until(lambda: program.state() == ("blocked", "MirrorUnreachable"), why="it asks in vain", seconds=60)
    memory = program.memory()
    print(memory)  # noqa: T201 (a figure for the report)
    assert memory["VmRSS"] < 32
    annotate(running, "uid")
    until(lambda: program.state() == ("cleaned", "Cleaned"), why="it cleans")
    assert node.hosts.read_bytes() == LOCALHOST
    assert '"event": "stopped"' in program.stop()


def test_program_cleans_at_its_end_without_service(
    running: Running, account: Account, server: Server, tmp_path: Path
) -> None:
    """A rollout keeps the node's files; an end after the Service's removes them."""
    node = NodeFiles(tmp_path / "node")
    service(running)
    program = Program(account, node, server)
    until(lambda: node.hosts.read_bytes() != LOCALHOST, why="the hosts entry exists")
    written = node.hosts.read_bytes()
    program.stop()
    assert node.hosts.read_bytes() == written
    program = Program(account, node, server)
    until(lambda: program.state()[1] in {"MirrorAway", "MirrorSilent"}, why=f"it knows the Service; {program.state()}")
    running.kube.delete(resources.SERVICE, SERVICE)
    assert '"reason": "Service deleted"' in program.stop()
    assert node.hosts.read_bytes() == LOCALHOST


def _slice() -> Json:
    return {
        "metadata": {"name": f"{SERVICE}-x", "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": 5000}],
    }


def test_wrong_settings_end_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "hostess"], env={}, cwd=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "SERVICE_NAME: is not set; it is required\n" in done.stderr
    assert "Traceback" not in done.stderr
