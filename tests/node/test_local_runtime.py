"""Test the folders where containerd reads hosts.toml, for each `config_path`, by its own output."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node import runtime
from tests.localcluster.node.runtime import BY_DEFAULT, DEBIAN, MODULES, ONE_ROOT, TWO_ROOTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("flavour", "config_path", "expected"),
    [
        (DEBIAN, None, TWO_ROOTS),
        (DEBIAN, BY_DEFAULT, ""),
        (DEBIAN, "", ""),
        (MODULES, None, ONE_ROOT),
        (MODULES, BY_DEFAULT, ""),  # containerd logs this and uses two folders
        (MODULES, "", ""),
        (MODULES, "/srv/certs.d", "/srv/certs.d"),
    ],
)
def test_containerd_reads_the_configuration(
    tmp_path: Path, flavour: str, config_path: str | None, expected: str
) -> None:
    """BY_DEFAULT writes no registry section."""
    found = runtime.find(flavour, config_path)
    file = tmp_path / "config.toml"
    file.write_text(found.configuration(tmp_path))
    assert ("config_path" in file.read_text()) is (config_path != BY_DEFAULT)
    dump = subprocess.run(
        [found.containerd, f"--config={file}", "config", "dump"], check=True, capture_output=True, text=True
    )
    assert re.findall(r"registry\]\n\s*config_path = ['\"](.*)['\"]", dump.stdout) == [expected]
