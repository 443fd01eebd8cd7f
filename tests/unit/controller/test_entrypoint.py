"""Run the start script of a cache in a real shell, with each set of tools.

The registry is a stand-in here; tests/node has the real one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as checked
from hypothesis import strategies as st

from controller.desired import entrypoint, registry_config
from tests.localcluster.node import debian
from tests.support.controller import parsed
from tests.support.kube import until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

PRESENT = "0123456789ab"
FORMER = "ba9876543210"
WEEK = 7 * 24 * 3600
BUSYBOX = "/bin/busybox"
ENTRY = {"Key": "library/a@sha256:00", "ExpiryData": "2026-11-23T08:24:23.123456789Z", "EntryType": 0}
OTHER = {"Key": "b/c@sha256:01", "ExpiryData": "2026-11-23T08:24:23+01:00", "EntryType": 1}


class Box:
    """Volume, folder in memory, and PATH of the script."""

    def __init__(self, folder: Path, tools: str) -> None:
        self.volume, self.marks, self.bin = (folder / name for name in ("volume", "marks", "bin"))
        for each in (self.volume, self.marks, self.bin):
            each.mkdir()
        self.shell = "/bin/sh"
        if tools == "busybox":
            subprocess.run([BUSYBOX, "--install", "-s", self.bin], check=True)
            self.shell = str(self.bin / "sh")
        self.path = str(self.bin) if tools == "busybox" else f"{self.bin}:{os.environ['PATH']}"
        (self.bin / "registry").write_text('#!/bin/sh\necho "$$ $*" >"$SAID"\nexec sleep 60\n')
        (self.bin / "registry").chmod(0o755)
        self.commands, self.looks = "", 1
        self.said, self.log = folder / "said", folder / "log"
        self.started: list[subprocess.Popen[bytes]] = []

    def command(self, name: str, script: str) -> None:
        """Replace a command by a function, which busybox prefers to files."""
        self.commands = f"{name}() {{ {script}; }}\n"

    def text(self, ttl: float = WEEK) -> str:
        """Return the script for this volume."""
        text = entrypoint.script(str(self.volume), PRESENT, int(ttl * 10**9), str(self.marks), "/etc/config.yml")
        return self.commands + text.replace(f"hold={entrypoint.HOLD}", f"hold={self.looks}")

    def begin(self, ttl: float = WEEK) -> subprocess.Popen[bytes]:
        """Start the script and wait until it has executed the registry."""
        self.said.unlink(missing_ok=True)
        environment = {"PATH": self.path, "SAID": str(self.said)}
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [self.shell, "-c", self.text(ttl)], env=environment, stderr=log, start_new_session=True
            )
        self.started.append(process)
        until(lambda: self.said.exists() and self.said.read_text().endswith("\n"), why="the registry is started")
        return process

    def function(self, call: str) -> int:
        """Return the exit status of one function of the script."""
        text = self.text().partition("\nretire_former\n")[0]
        return subprocess.run([self.shell, "-c", f"{text}\n{call}"], env={"PATH": self.path}, check=False).returncode

    def hold(self, name: str, content: bytes = b"x", at: float | None = None) -> Path:
        """Write a file on the volume."""
        file = self.volume / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if at is not None:
            os.utime(file, (at, at))
        return file

    def cached(self, repository: str, content: str, at: float, *, manifest: bool = False, kept: bool = True) -> str:
        """Write a blob as the registry does, and return its reference. Without `kept`, its bytes have expired."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        where = "_manifests/revisions" if manifest else "_layers"
        tree = f"{PRESENT}/docker/registry/v2"
        self.hold(f"{tree}/repositories/{repository}/{where}/sha256/{digest}/link", f"sha256:{digest}".encode(), at)
        if kept:
            self.hold(f"{tree}/blobs/sha256/{digest[:2]}/{digest}/data", content.encode())
        return f"{repository}@sha256:{digest}"

    def books(self) -> Any:
        """Return the state file, or None."""
        file = self.volume / PRESENT / entrypoint.STATE
        return json.loads(file.read_text()) if file.exists() else None

    def end(self) -> None:
        """Kill all started processes with their children."""
        for process in self.started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(params=["busybox", "system"], scope="module")
def tools(request: pytest.FixtureRequest) -> str:
    """Return the set of commands: busybox alone, as in the image, or this machine's.

    Install busybox if root can do that.
    """
    if request.param == "busybox" and not Path(BUSYBOX).exists():
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("there is no busybox here, and no way to install it")
        debian.install({"busybox-static": BUSYBOX})
    return str(request.param)


@pytest.fixture
def box(tmp_path: Path, tools: str) -> Iterator[Box]:
    """Yield a new volume."""
    made = Box(tmp_path, tools)
    yield made
    made.end()


def compact(document: Any) -> bytes:
    """Return JSON as Go writes it."""
    return json.dumps(document, separators=(",", ":")).encode()


SOUND = [
    b"{}",
    compact({"a": ENTRY}),
    compact({"a": ENTRY, "b": OTHER}),
    compact({f"library/a{number}@sha256:{number:064x}": ENTRY for number in range(5000)}),
]
_WHOLE = compact({"a": ENTRY, "b": OTHER})
DAMAGED = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "array of entries": compact([ENTRY]),
    "text": b"hello",
    "number": b"1",
    "open": b"{",
    "half an entry": _WHOLE[: len(_WHOLE) // 3],
    "without its last bracket": _WHOLE[:-1],
    "cut off after an entry": _WHOLE[: _WHOLE.index(b',"b"')],
    "cut off after a comma": _WHOLE[: _WHOLE.index(b',"b"') + 1],
    "something after it": _WHOLE + b"}",
    "twice": _WHOLE + _WHOLE,
    "zeros": b"\0" * 4096,
    "zeros after it": _WHOLE + b"\0",
    "zeros within": _WHOLE.replace(b"library", b"\0\0\0\0\0\0\0"),
    "a line end after it": _WHOLE + b"\n",
    "a line end for a bracket": _WHOLE[:-1] + b"\n",
    "no entries": compact({"a": 1}),
    "null for an entry": compact({"a": None}),
    "a month that is none": _WHOLE.replace(b"2026-11", b"2026-13"),
    "another type": _WHOLE.replace(b'"EntryType":0', b'"EntryType":"0"'),
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("content", SOUND, ids=["none", "one", "two", "many"])
def test_sound_state_file_is_kept(box: Box, content: bytes) -> None:
    box.cached("library/a", "layer", time.time())
    file = box.hold(f"{PRESENT}/{entrypoint.STATE}", content)
    box.begin()
    assert file.read_bytes() == content
    assert [each.name for each in file.parent.iterdir() if each.is_file()] == [entrypoint.STATE]


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_state_file_is_rebuilt(box: Box, content: bytes) -> None:
    then = int(time.time()) - 3600
    layer = box.cached("library/a", "layer", then)
    box.hold(f"{PRESENT}/{entrypoint.STATE}", content)
    box.begin()
    assert (box.volume / PRESENT / f"{entrypoint.STATE}.damaged").read_bytes() == content
    assert box.books() == {layer: {"Key": layer, "ExpiryData": _stamp(then + WEEK), "EntryType": 0}}


@given(st.binary(max_size=300) | st.integers(0, len(_WHOLE) - 1).map(lambda end: _WHOLE[:end]))
@checked(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sound_state_file_is_an_object(box: Box, content: bytes) -> None:
    """No content passes that would stop the registry."""
    file = box.hold("books", content)
    if box.function(f"is_sound {file}") == 0:
        assert isinstance(json.loads(content), dict)


def test_rebuilt_state_keeps_expiry_times(box: Box) -> None:
    """A link may have no blob; a tag is no blob; two repositories may share one."""
    now = int(time.time())
    wanted = {
        box.cached("library/a", "one", now - 10): (_stamp(now - 10 + 90), 0),
        box.cached("team/sub.group/b_c", "one", now - 20): (_stamp(now - 20 + 90), 0),
        box.cached("library/a", "manifest", now - WEEK, manifest=True): (_stamp(now - WEEK + 90), 1),
    }
    box.cached("library/a", "expired", now, kept=False)
    box.hold(f"{PRESENT}/docker/registry/v2/repositories/library/a/_manifests/tags/1/current/link")
    box.begin(ttl=90)
    assert {key: (each["ExpiryData"], each["EntryType"]) for key, each in box.books().items()} == wanted
    assert all(key == each["Key"] for key, each in box.books().items())
    assert box.function(f"is_sound {box.volume / PRESENT / entrypoint.STATE}") == 0


def test_new_volume_gets_no_state_file(box: Box) -> None:
    box.begin()
    assert list(box.volume.iterdir()) == []
    assert box.log.read_bytes() == b""


def test_unlimited_ttl_needs_no_state_file(box: Box) -> None:
    box.cached("library/a", "layer", time.time())
    file = box.hold(f"{PRESENT}/{entrypoint.STATE}", b"null")
    box.begin(ttl=0)
    assert file.read_bytes() == b"null"


def test_failed_rebuild_empties_the_cache(box: Box) -> None:
    """Blobs that never expire would fill the volume."""
    box.cached("library/a", "layer", time.time())
    box.command("awk", "return 1")
    box.begin()
    until(lambda: not list(box.volume.iterdir()), why="all of it is removed")
    assert "begins empty" in box.log.read_text()


def test_former_upstream_is_removed(box: Box) -> None:
    box.hold(f"{FORMER}/docker/blob")
    box.hold("removing-0/half/of/it")  # left by an earlier start
    box.hold("docker/registry/v2/blob")  # left by a registry that used the whole volume
    box.hold(entrypoint.STATE)
    stay = [box.hold(name) for name in ("lost+found/1", f"{PRESENT}/docker/blob", "0123456789abc", "notes")]
    box.begin(ttl=0)
    assert not (box.volume / FORMER).exists()
    until(lambda: not list(box.volume.glob("removing-*")), why="it is deleted beside the registry")
    assert {each for each in box.volume.rglob("*") if each.is_file()} == set(stay)


def test_former_upstream_is_renamed_at_once(box: Box) -> None:
    box.hold(f"{FORMER}/docker/blob")
    box.command("rm", "sleep 60")
    box.begin()
    assert not (box.volume / FORMER).exists()
    assert (box.volume / "removing-0" / "docker" / "blob").exists()


def test_shell_executes_the_registry(box: Box) -> None:
    process = box.begin()
    assert box.said.read_text() == f"{process.pid} serve /etc/config.yml\n"


def test_full_volume_is_marked(box: Box) -> None:
    mark = box.marks / "full"
    numbers = {  # blocks, free, available, inodes, free inodes
        "half": ("1000 500 500 1000 500", False),
        "five percent": ("1000 50 50 1000 500", False),
        "below": ("1000 49 49 1000 500", True),
        "kept for root": ("1000 100 40 1000 500", True),
        "no inodes": ("1000 500 500 1000 49", True),
        "uncounted inodes": ("1000 500 500 0 0", False),
        "petabytes": (f"{2**42} {2**41} {2**41} 0 0", False),
    }
    for name, (said, full) in numbers.items():
        box.command("stat", f"echo {said}")
        assert box.function("mark") == 0
        assert mark.exists() == full, name
    box.command("stat", "echo 1000 1 1 1000 500")
    box.function("mark")
    box.command("stat", "return 1")
    box.function("mark")
    assert mark.exists(), "what cannot be asked has not changed"


def test_mark_follows_free_space(box: Box) -> None:
    box.command("stat", f"cat {box.volume}/space")
    box.hold("space", b"1000 1 1 1000 500\n")
    box.begin()
    assert (box.marks / "full").exists()
    box.hold("space", b"1000 500 500 1000 500\n")
    until(lambda: not (box.marks / "full").exists(), why="there is space again")
    lines = [json.loads(line)["msg"] for line in box.log.read_text().splitlines()]
    assert len(lines) == 2
    assert "less than 5 %" in lines[0]
    assert "again" in lines[1]


def test_mark_stays_for_hold_time(box: Box) -> None:
    """Otherwise each retry of a large pull is served and cut off."""
    box.looks = 3
    box.hold("looks", b"")
    box.command("stat", f"echo >>{box.volume}/looks; cat {box.volume}/space")
    box.hold("space", b"1000 1 1 1000 500\n")
    box.begin()
    box.hold("space", b"1000 500 500 1000 500\n")
    seen = len((box.volume / "looks").read_bytes())
    until(lambda: not (box.marks / "full").exists(), why="there was space for three looks")
    assert len((box.volume / "looks").read_bytes()) >= seen + 3


def test_script_has_the_values_of_mirror() -> None:
    mirror = parsed(a_mirror().keeping("1h30m0.5s"))
    text = registry_config.start_script(mirror)
    subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=True)
    values = dict(re.findall(r"^(\w+)=(\S+)$", text.partition("\n\n")[0], re.MULTILINE))
    assert values == {
        "data": "/var/lib/registry",
        "present": mirror.upstream.directory,
        "ttl": "5401",
        "marks": "/run/registry-mirror",
        "configuration": "/etc/registry-mirror/config.yml",
        "state": "scheduler-state.json",
        "free": "5",
        "look": "2",
        "hold": "150",
    }
    assert mirror.upstream.directory not in text.partition("\n\n")[2]


def test_registry_checks_the_mark() -> None:
    (check,) = json.loads(registry_config.configuration(parsed()))["health"]["file"]
    assert check == {"file": f"{registry_config.MARKS_DIRECTORY}/full", "interval": "1s"}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
