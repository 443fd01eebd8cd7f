"""Test the file that administrators install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from common.version import VERSION
from deploy import plugin

if TYPE_CHECKING:
    from pathlib import Path


def test_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        assert plugin.main([str(folder)]) == 0
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second
    assert len(first) == 6
    assert not any(str(tmp_path).encode() in content for content in first.values())


def test_plugin_runs_with_the_standard_library(tmp_path: Path) -> None:
    """-I and -S leave out the current folder, the environment and all installed packages."""
    path = plugin.write(tmp_path)
    command = [sys.executable, "-I", "-S", str(path), "version", "--client", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    (item,) = json.loads(done.stdout)["items"]
    assert (item["program"], item["version"]) == ("plugin", VERSION)


def test_file_of_the_completion_completes(tmp_path: Path) -> None:
    plugin.write(tmp_path)
    done = subprocess.run([tmp_path / "kubectl_complete-mirror", "stat"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("status\t")
    assert done.stdout.splitlines()[-1] == ":4"


def test_missing_kubectl_is_reported(tmp_path: Path) -> None:
    path = plugin.write(tmp_path)
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(path), "status"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert done.stderr == ("Cannot start kubectl: No such file or directory. Install kubectl, and put it into PATH.\n")
