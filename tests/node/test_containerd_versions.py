"""K1: each containerd reads a table of configurations, and the agent never concludes more than that containerd does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node import debian, programs
from tests.support.containerd_cases import AS_ONE, CASES, NOT_SURE, USED, judge, verdict_of_agent, verdict_of_containerd

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS = ("1.6.20", "1.7.35", "2.1.9", "2.4.2")
LAST_COUNTS = "import of version 2 in version 3"  # containerd 1.7 takes the version of the last file
# The agent reports that it is not sure. In all other cases it is sure, and right.
DOUBTS: Mapping[str, tuple[str, ...]] = {
    # The daemon starts without a file, and may have another one.
    "no file": VERSIONS,
    "no valid TOML": VERSIONS,
    "missing import": VERSIONS,
    "import outside of the folder": VERSIONS,
    # The kubelet needs the plugin, so containerd runs with another file.
    "CRI disabled": VERSIONS,
    # containerd refuses to start.
    "oldest section in version 2": ("1.6.20", "1.7.35"),
    "version 4": ("1.7.35", "2.1.9"),
    **dict.fromkeys((name for name in CASES if "ersion 3" in name and name != LAST_COUNTS), ("1.7.35",)),
    # containerd 1.6 looks for it in its working directory, which the agent does not know.
    "relative pattern": ("1.6.20",),
}


def containerd(version: str) -> Path:
    """Return the binary of a version."""
    debian.install()
    modules = {
        "1.7.35": programs.CONTAINERD_1_7,
        "2.1.9": programs.CONTAINERD_2_1,
        "2.4.2": programs.CONTAINERD_2[0],
    }
    return programs.build(modules[version]) if version in modules else Path("/usr/bin/containerd")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_agent_concludes_what_containerd_does(version: str, name: str, tmp_path: Path) -> None:
    for file, content in CASES[name].items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    agent = verdict_of_agent(f"containerd://{version}", tmp_path)
    if version in DOUBTS.get(name, ()):
        assert agent == NOT_SURE
        return
    major, minor, _ = version.split(".")
    assert agent == verdict_of_containerd(containerd(version), (int(major), int(minor)), tmp_path)


def test_comparison_finds_a_difference() -> None:
    """A default of two roots is used since 2.2 only."""
    assert judge({}, (2, 1)) != USED
    assert judge({}, (2, 2)) == AS_ONE
