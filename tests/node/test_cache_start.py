"""Run the start script and the real registry on a folder, without a node."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from controller.desired import entrypoint, registry_config
from controller.objects import well_known
from tests.localcluster.node import debian, images, programs
from tests.localcluster.node.programs import REGISTRY
from tests.localcluster.ports import free_port
from tests.support.certificates import Issuer
from tests.support.controller import parsed
from tests.support.kube import until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPOSITORY = "library/a"
LAYER = b"a layer" * 1000
MEDIA = "application/vnd.oci.image.manifest.v1+json"


def reference(content: bytes) -> str:
    """Return the digest of a blob."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MEDIA,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": reference(b"{}"),
            "size": 2,
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": reference(LAYER), "size": len(LAYER)}
        ],
    }
).encode()


class Bench:
    """Upstream with one image, and the folders, files and tools of its cache."""

    def __init__(self, folder: Path) -> None:
        debian.install()
        self.folder, self.bin = folder, folder / "bin"
        self.volume, self.marks = folder / "volume", folder / "marks"
        for each in (self.bin, self.volume, self.marks):
            each.mkdir()
        subprocess.run([images.BUSYBOX, "--install", "-s", self.bin], check=True)
        (self.bin / "registry").symlink_to(programs.build(REGISTRY))
        self.environment = {"PATH": str(self.bin), "OTEL_TRACES_EXPORTER": "none"}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port, self.debug = free_port(), free_port()
        self.mirror = parsed(a_mirror().of(f"http://127.0.0.1:{self._upstream()}").keeping("1h"))
        issuer = Issuer()
        issued = issuer.issue()
        for name, content in {
            "tls.crt": issued.certificate,
            "tls.key": issued.key,
            "ca.crt": issuer.certificate,
        }.items():
            (folder / name).write_bytes(content)
        (folder / well_known.HELPER).write_text('#!/bin/sh\necho \'{"Username": "", "Secret": ""}\'\n')
        (folder / well_known.HELPER).chmod(0o755)
        (folder / well_known.CONFIGURATION).write_text(self._here(registry_config.configuration(self.mirror)))
        (folder / well_known.START).write_text(
            self._here(registry_config.start_script(self.mirror).replace("hold=150", "hold=1"))
        )
        self.books = self.volume / self.mirror.upstream.directory / entrypoint.STATE
        self.http = httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", verify=_trusting(folder / "ca.crt"), trust_env=False
        )

    def _here(self, text: str) -> str:
        """Return a file of the cache pod with the paths of this bench."""
        for inside, here in {
            registry_config.CONFIGURATION_DIRECTORY + "-tls": self.folder,
            registry_config.MARKS_DIRECTORY: self.marks,
            registry_config.CONFIGURATION_DIRECTORY: self.folder,
            registry_config.DATA_DIRECTORY: self.volume,
            '":5000"': f'"127.0.0.1:{self.port}"',
            f'":{registry_config.DEBUG_PORT}"': f'"127.0.0.1:{self.debug}"',
        }.items():
            text = text.replace(inside, str(here))
        return text

    def _upstream(self) -> int:
        port = free_port()
        configuration = self.folder / "upstream.yml"
        storage = {"filesystem": {"rootdirectory": str(self.folder / "upstream")}}
        configuration.write_text(
            json.dumps({"version": "0.1", "storage": storage, "http": {"addr": f"127.0.0.1:{port}"}})
        )
        self._run([self.bin / "registry", "serve", configuration], "upstream.log")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v2/{REPOSITORY}", trust_env=False) as http:
            until(lambda: _answers(http, f"http://127.0.0.1:{port}/v2/"), why="the upstream answers")
            for blob in (LAYER, b"{}"):
                place = http.post("/blobs/uploads/").headers["Location"]
                put = http.put(f"{place}&digest={reference(blob)}", content=blob)
                assert put.is_success, put.text
            put = http.put("/manifests/1", content=MANIFEST, headers={"Content-Type": MEDIA})
            assert put.is_success, put.text
        return port

    def _run(self, command: list[str | Path], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as stream:
            process = subprocess.Popen(
                command, env=self.environment, stdout=stream, stderr=stream, start_new_session=True
            )
        self.processes.append(process)
        return process

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the cache as its container does, and wait until it answers."""
        process = self._run([self.bin / "sh", self.folder / well_known.START], "cache.log")
        until(lambda: _answers(self.http, "/v2/"), why=f"the cache answers; {self.folder / 'cache.log'}")
        return process

    def pull(self) -> None:
        """Pull the image and compare its bytes."""
        manifest = self.http.get(f"/v2/{REPOSITORY}/manifests/1", headers={"Accept": MEDIA})
        assert manifest.content == MANIFEST, manifest.text
        assert self.http.get(f"/v2/{REPOSITORY}/blobs/{reference(LAYER)}").content == LAYER

    def blob(self) -> Path:
        """Return the path of the cached layer."""
        digest = reference(LAYER).partition(":")[2]
        tree = self.books.parent / "docker/registry/v2"
        return tree / "blobs/sha256" / digest[:2] / digest / "data"

    def link(self) -> Path:
        """Return the link whose time is that of the layer."""
        digest = reference(LAYER).partition(":")[2]
        tree = self.books.parent / "docker/registry/v2"
        return tree / "repositories" / REPOSITORY / "_layers/sha256" / digest / "link"

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process with its children."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Yield a new bench."""
    made = Bench(tmp_path)
    yield made
    made.http.close()
    for process in made.processes:
        with suppress(ProcessLookupError):  # a process that exited may have left a child
            made.kill(process)


BROKEN = {"missing": None, "empty": b"", "cut off": b'{"library/a@sha256:0', "array": b"[]", "null": b"null"}


def test_cache_survives_damaged_state_file(bench: Bench) -> None:
    """Without the script the registry exits, or keeps blobs without expiry."""
    process = bench.begin()
    bench.pull()
    until(bench.books.exists, why="they are saved", seconds=15)
    written = json.loads(bench.books.read_text())
    assert len(written) == 2
    for name, content in BROKEN.items():
        bench.kill(process)
        bench.books.unlink()
        if content is not None:
            bench.books.write_bytes(content)
        process = bench.begin()
        bench.pull()
        anew = json.loads(bench.books.read_text())
        assert set(written) <= set(anew), name
        for key, entry in written.items():
            assert anew[key]["EntryType"] == entry["EntryType"]
            apart = datetime.fromisoformat(anew[key]["ExpiryData"]) - datetime.fromisoformat(entry["ExpiryData"])
            assert abs(apart) < timedelta(minutes=2), "as it was, of an hour"
    bench.kill(process)
    bench.books.write_bytes(b"null")
    past = time.time() - 3700
    os.utime(bench.link(), (past, past))
    bench.begin()
    until(lambda: not bench.blob().exists(), why="a layer whose time is over is deleted")
    bench.pull()
    assert bench.blob().exists()


def test_state_saved_on_sigterm_is_sound(bench: Bench) -> None:
    process = bench.begin()
    bench.pull()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, "the registry is the first process, and drains"
    saved = bench.books.read_bytes()
    bench.begin()
    assert bench.books.read_bytes() == saved
    assert not list(bench.books.parent.glob("*.damaged"))


def test_full_volume_answers_503(bench: Bench) -> None:
    """The test fills and empties a file system of 8 MB."""
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", bench.volume], check=True)
    try:
        bench.begin()
        bench.pull()
        filler = bench.volume / "filler"
        filler.write_bytes(b"x" * (shutil.disk_usage(bench.volume).free - 100_000))
        status = f"/v2/{REPOSITORY}/manifests/1"
        until(lambda: bench.http.get("/v2/").status_code == 503, why="it is not ready", seconds=6)
        assert bench.http.get(status).status_code == 503
        filler.unlink()
        until(lambda: bench.http.get("/v2/").status_code == 200, why="it is ready again", seconds=6)
        bench.pull()
    finally:
        subprocess.run(["/bin/umount", "--lazy", bench.volume], check=True)


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).is_success
    except httpx.TransportError:
        return False


def _trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))
