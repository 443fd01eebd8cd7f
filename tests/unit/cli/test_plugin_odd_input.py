"""Test the plugin with a stand-in for kubectl, whose answers no real cluster gives on request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
LABELS = {"app": "docker-registry", "mirror": "docker", "component": "hostess-certificate"}


def process(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start the plugin with a shell script as kubectl."""
    kubectl = folder / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n{script}\n")
    kubectl.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the plugin with a shell script as kubectl."""
    with process(folder, script, *arguments, **environment) as started:
        out, err = started.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, started.returncode, out.decode(), err.decode())


def items(*objects: Mapping[str, object]) -> str:
    """Return the shell command that prints a list of objects."""
    return f"echo '{json.dumps({'items': objects})}'"


def bundle(path: Path) -> dict[str, str]:
    """Return the texts of a support bundle by name."""
    with tarfile.open(path) as archive:
        return {each.name.partition("/")[2]: archive.extractfile(each).read().decode() for each in archive}  # type: ignore[union-attr]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_status_survives_odd_characters(tmp_path: Path, encoding: str) -> None:
    """The answer has a byte that is not UTF-8, and a character that the terminal may lack."""
    script = r"""printf '{"items": [{"metadata": {"name": "a\342\202\254\377"}}]}'"""
    done = run(tmp_path, script, "status", PYTHONIOENCODING=encoding)
    shown = "a\u20ac\ufffd" if encoding == "utf-8" else "a??"
    assert (done.returncode, done.stdout.splitlines()[1].split()[0]) == (0, shown), done.stderr


def test_watch_survives_odd_bytes(tmp_path: Path) -> None:
    done = run(tmp_path, r"""printf '{"metadata": {"name": "a\377"}}'""", "status", "-w", "-o", "name")
    assert (done.returncode, done.stdout) == (0, "registrymirror.k8s.osp.tech/a\ufffd\n"), done.stderr


def test_message_survives_odd_bytes(tmp_path: Path) -> None:
    done = run(tmp_path, r"printf 'No\377.\n' >&2; exit 1", "status")
    assert (done.returncode, done.stderr) == (2, "No\ufffd.\n")


def test_nodes_survive_odd_logs(tmp_path: Path) -> None:
    agent = {"metadata": {"name": "agent", "labels": LABELS}, "spec": {"nodeName": "node"}}
    script = rf"case $1 in logs) printf 'x\377\n' ;; *) {items(agent)} ;; esac"
    done = run(tmp_path, script, "nodes", "docker")
    assert (done.returncode, done.stdout.splitlines()[1].split()[:3]) == (0, ["node", "pending", "Starting"])


def test_report_survives_odd_logs(tmp_path: Path) -> None:
    """An agent's log may name a file with a byte that is not UTF-8, which JSON then escapes."""
    agent = {"kind": "Pod", "metadata": {"name": "agent", "labels": LABELS}, "spec": {"nodeName": "node"}}
    line = r'{"event": "node state changed", "state": "blocked", "reason": "R", "message": "\\udcff"}'
    script = rf"case $1 in logs) printf '\377\n{line}\n' ;; *) {items(agent)} ;; esac"
    done = run(tmp_path, script, "report", "--file=bundle")
    assert done.returncode == 0, done.stderr
    texts = bundle(tmp_path / "bundle")
    assert texts["logs/agent.log"].startswith("\ufffd\n")
    assert json.loads(texts["nodes/agent.json"])[0]["message"] == "\udcff"


def test_report_survives_odd_objects(tmp_path: Path) -> None:
    """The part that fails is named in the bundle, which has the others."""
    done = run(tmp_path, items({"kind": "RegistryMirror", "status": "odd"}), "report", "--file=bundle")
    assert done.returncode == 0, done.stderr
    texts = bundle(tmp_path / "bundle")
    assert "status.json: AttributeError" in texts["failures.txt"]
    assert "objects/registrymirrors.json" in texts


def test_events_of_a_longer_name_are_left_out(tmp_path: Path) -> None:
    """The pod `registry-mirror-docker-eu-0` is of the mirror `docker-eu`."""
    pods = [
        {"involvedObject": {"kind": "Pod", "name": f"registry-mirror-{each}-0"}} for each in ("docker", "docker-eu")
    ]
    mirrors = [{"metadata": {"name": each}} for each in ("docker", "docker-eu")]
    script = f"case $2 in events) {items(*pods)} ;; *) {items(*mirrors)} ;; esac"
    done = run(tmp_path, script, "events", "docker", "-n", "x", "-o", "json")
    assert {each["object"] for each in json.loads(done.stdout)["items"]} == {"pod/registry-mirror-docker-0"}


def test_cut_answer_of_kubectl_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, """echo '{"items": [' """, "status")
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "kubectl printed incomplete or wrong JSON")


@pytest.mark.parametrize("command", ["images docker", "purge docker docker.io/library/a"])
def test_cut_answer_of_a_cache_is_silence(tmp_path: Path, command: str) -> None:
    """The connection of `kubectl exec` may end early."""
    state = {"containerStatuses": [{"name": "cache", "state": {"running": {}}}]}
    answer = items({"metadata": {"name": "docker"}, "status": state})
    script = f"""case $1 in exec) echo '{{"images": [' ;; *) {answer} ;; esac"""
    done = run(tmp_path, script, *command.split())
    assert done.returncode == 1
    assert "kubectl printed incomplete or wrong JSON" in done.stderr
    assert "Traceback" not in done.stderr


def test_condition_without_fields_is_shown(tmp_path: Path) -> None:
    """Another operator with the same kind may have left its conditions."""
    done = run(tmp_path, f"echo '{json.dumps({'status': {'conditions': [{'type': 'Ready'}]}})}'", "status", "docker")
    assert done.stdout.splitlines()[-1].split() == ["Ready", "-", "-", "0s", "-"], done.stderr


@pytest.mark.parametrize("command", ["--help", "version --client"])
def test_closed_pipe_is_no_error(tmp_path: Path, command: str) -> None:
    with process(tmp_path, "", *command.split(), PYTHONUNBUFFERED="") as started:
        started.stdout.close()  # type: ignore[union-attr]
        assert (started.wait(60), started.stderr.read()) == (0, b"")  # type: ignore[union-attr]


def test_full_disk_is_reported() -> None:
    command = [sys.executable, "-m", "cli", "version", "--client"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "Cannot write the output: No space left on device.\n")
