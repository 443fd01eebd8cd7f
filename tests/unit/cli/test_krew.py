"""Test archive and manifest with krew itself, which is built from its Go module."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from common.version import VERSION
from deploy import plugin
from tests.localcluster.node.programs import Program, build

if TYPE_CHECKING:
    from pathlib import Path

# The first run builds both programs.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
KREW = Program("krew", "sigs.k8s.io/krew/cmd/krew@v0.4.3")
VALIDATOR = Program("validate-krew-manifest", "sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.4.3")


def run(program: Program, *arguments: str, root: Path) -> str:
    """Run a program of krew, which succeeds; return its output."""
    environment = {**os.environ, "KREW_ROOT": str(root)}
    done = subprocess.run([build(program), *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_krew_accepts_the_manifest(tmp_path: Path) -> None:
    manifest = plugin.write_for_krew(tmp_path)
    printed = run(VALIDATOR, "-manifest", str(manifest), "-skip-install", root=tmp_path / "krew")
    assert "structural validation OK" in printed


@pytest.mark.parametrize("system", ["linux/amd64", "darwin/arm64"])
def test_krew_installs_and_removes_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    manifest, root = plugin.write_for_krew(tmp_path), tmp_path / "krew"
    # krew removes plugins only if it has an index.
    subprocess.run(["git", "init", "--quiet", root / "index" / "default"], check=True)
    for variable, value in zip(("KREW_OS", "KREW_ARCH"), system.split("/"), strict=True):
        monkeypatch.setenv(variable, value)
    archive = tmp_path / f"{plugin.PLUGIN}-{VERSION}.tar.gz"
    run(KREW, "install", f"--manifest={manifest}", f"--archive={archive}", root=root)
    installed = root / "bin" / plugin.PLUGIN
    done = subprocess.run([installed, "version", "--client", "-o", "name"], capture_output=True, text=True, check=True)
    assert done.stdout == f"plugin/{VERSION}\n"
    run(KREW, "uninstall", "registry-mirror", root=root)
    assert not installed.exists()
