"""K1: the agent follows containerd's files as containerd does, by containerd's own output, without a node."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from hostess.containerd import config_files, config_path
from hostess.containerd.runtime import parse_version
from hostess.node_state import NodeConfigError
from tests.localcluster.node import runtime
from tests.localcluster.node.runtime import DEBIAN, FLAVOURS

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = {DEBIAN: "containerd://1.6.20", "containerd-2": "containerd://2.4.2"}
SECTION = '[plugins."io.containerd.grpc.v1.cri".registry]'


def setting(path: str, *imports: str) -> str:
    """Return a file with a config_path, none if it is empty, and imports."""
    registry = f"{SECTION}\nconfig_path = '{path}'\n" if path else ""
    return f"version = 2\nimports = {list(imports)}\n{registry}"


FILES: dict[str, dict[str, str]] = {
    "alone": {"config.toml": setting("OURS")},
    "not imported": {"config.toml": "version = 2\n", "conf.d/1.toml": setting("OURS")},
    "absolute": {"config.toml": setting("/opt", "TOP/conf.d/*.toml"), "conf.d/1.toml": setting("OURS")},
    "overridden": {"config.toml": setting("OURS", "TOP/conf.d/*.toml"), "conf.d/1.toml": setting("/opt")},
    "the last counts": {
        "config.toml": setting("", "TOP/conf.d/*.toml"),
        "conf.d/1.toml": setting("/opt"),
        "conf.d/2.toml": setting("OURS"),
    },
    "hidden": {"config.toml": setting("", "TOP/conf.d/*.toml"), "conf.d/.1.toml": setting("OURS")},
    "nested comes last": {
        "config.toml": setting("", "a.toml", "b.toml"),
        "a.toml": setting("", "x/c.toml"),
        "b.toml": setting("/opt"),
        "x/c.toml": setting("OURS"),
    },
    "nested comes last too": {
        "config.toml": setting("", "a.toml", "b.toml"),
        "a.toml": setting("", "x/c.toml"),
        "b.toml": setting("OURS"),
        "x/c.toml": setting("/opt"),
    },
    "circle": {"config.toml": setting("OURS", "a.toml"), "a.toml": setting("", "config.toml")},
    "section without path": {"config.toml": setting("OURS", "a.toml"), "a.toml": f"version = 2\n{SECTION}\n"},
    "no match": {"config.toml": setting("OURS", "TOP/none/*.toml")},
}
RELATIVE = {"config.toml": setting("", "conf.d/*.toml"), "conf.d/1.toml": setting("OURS")}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content.replace("TOP", str(folder)).replace("OURS", f"{folder}/certs.d"))


def paths_of(flavour: str, folder: Path) -> list[str]:
    """Return the config_path that containerd itself reads."""
    containerd = runtime.find(flavour).containerd
    command = [str(containerd), f"--config={folder}/config.toml", "config", "dump"]
    dump = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout
    return re.findall(r"registry\]\n\s*config_path = ['\"](.*)['\"]", dump)


def agent_finds(flavour: str, folder: Path) -> bool:
    """Return True if the agent finds that containerd reads its folder. It must have no doubt."""
    version = parse_version(VERSIONS[flavour])
    found = config_files.read(folder, relative_patterns=not version.is_before(config_path.RELATIVE_SINCE))
    assert found.doubts == ()
    try:
        reading = config_path.reading(found.texts, found.doubts, version, f"{folder}/certs.d")
    except NodeConfigError:
        return False
    assert reading.doubt == ""
    return True


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("case", FILES)
def test_agent_and_containerd_read_the_same(tmp_path: Path, flavour: str, case: str) -> None:
    write(tmp_path, FILES[case])
    assert agent_finds(flavour, tmp_path) == (paths_of(flavour, tmp_path) == [f"{tmp_path}/certs.d"])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_relative_pattern(tmp_path: Path, flavour: str) -> None:
    """1.6 looks for it in its working directory, and the agent does not guess."""
    write(tmp_path, RELATIVE)
    is_found = paths_of(flavour, tmp_path) == [f"{tmp_path}/certs.d"]
    assert is_found == (flavour != DEBIAN)
    if is_found:
        assert agent_finds(flavour, tmp_path)
    else:
        assert config_files.read(tmp_path, relative_patterns=False).doubts
