"""K1: containerd's files are followed as containerd does, and what cannot be read is never ignored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from controller.nodes.agent_status import SENTENCE_MAX
from hostess import node_state
from hostess.containerd import config_files
from hostess.containerd.config_files import Configuration
from tests.unit.hostess.agent_powers import give_away, without_capabilities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.hostess.node_files import NodeFiles

A, B = b'version = 2\na = "A"\n', b'version = 2\nb = "B"\n'


def main_with(node: NodeFiles, *imports: str) -> bytes:
    """Write config.toml with these imports; `{}` is the folder of containerd."""
    written = [each.format(node.containerd.parent) for each in imports]
    content = f"version = 2\nimports = {json.dumps(written)}\n".encode() if imports else A
    node.put("etc/containerd/config.toml", content)
    return content


def read(node: NodeFiles, *, relative_patterns: bool = True) -> Configuration:
    return config_files.read(node.containerd.parent, relative_patterns=relative_patterns)


def doubted(node: NodeFiles) -> str:
    """Return the only doubt."""
    (doubt,) = read(node).doubts
    assert len(node_state.configured("quay.io", doubt.replace(str(node.root), ""), "").message) <= SENTENCE_MAX
    return doubt


def test_no_configuration(node: NodeFiles) -> None:
    assert read(node) == Configuration()


def test_folder_is_not_imported_by_default(node: NodeFiles) -> None:
    """Containerd 1.6.20 and 2.4.2 read conf.d only if config.toml imports it (M)."""
    main = main_with(node)
    node.put("etc/containerd/conf.d/10.toml", B)
    assert read(node) == Configuration((main,))


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        ("conf.d/*.toml", "conf.d/10.toml"),
        ("./conf.d//*.toml", "conf.d/.hidden.toml"),
        ("more.toml", "more.toml"),
        ("{}/x/*.toml", "x/a.toml"),
        ("{}/*/a.toml", "x/a.toml"),
        ("x/../y.toml", "y.toml"),
    ],
)
def test_imports_are_followed(node: NodeFiles, pattern: str, file: str) -> None:
    main = main_with(node, pattern)
    node.put(f"etc/containerd/{file}", B)
    assert read(node) == Configuration((main, B))


def test_imports_of_imports_come_last(node: NodeFiles) -> None:
    """Containerd reads breadth first, and each file once."""
    main = main_with(node, "conf.d/*.toml", "last.toml")
    first = b'imports = ["../deep.toml", "../config.toml"]\n'
    node.put("etc/containerd/conf.d/1.toml", first)
    node.put("etc/containerd/conf.d/2.toml", A)
    node.put("etc/containerd/last.toml", B)
    deep = node.put("etc/containerd/deep.toml", b"deep = 1").read_bytes()
    assert read(node) == Configuration((main, first, A, B, deep))


@pytest.mark.parametrize("pattern", ["none/*.toml", "conf.d/*.toml", "config.toml/*"])
def test_pattern_without_files_is_no_doubt(node: NodeFiles, pattern: str) -> None:
    main = main_with(node, pattern)
    assert read(node) == Configuration((main,))


@pytest.mark.parametrize("pattern", ["/opt/x.toml", "/opt/*.toml", "../x.toml", "{}/../x/*.toml", "", ".", "{}", "\0"])
def test_import_from_elsewhere_is_a_doubt(node: NodeFiles, pattern: str) -> None:
    main = main_with(node, "own.toml", pattern)
    node.put("etc/containerd/own.toml", B)
    assert "which the agent cannot read" in doubted(node)
    assert read(node).texts == (main, B)


@pytest.mark.parametrize("pattern", ["[*].toml", "a\\\\\\\\*"])
def test_pattern_of_another_syntax_is_a_doubt(node: NodeFiles, pattern: str) -> None:
    main_with(node, pattern)
    assert "cannot follow" in doubted(node)


def test_relative_pattern_of_containerd_1_6(node: NodeFiles) -> None:
    """It is relative to the working directory of containerd (M)."""
    main_with(node, "conf.d/*.toml", "more.toml", "{}/conf.d/*.toml")
    node.put("etc/containerd/more.toml", B)
    (doubt,) = read(node, relative_patterns=False).doubts
    assert "'conf.d/*.toml'. Write absolute paths." in doubt


def a_link_to_elsewhere(path: Path) -> None:
    path.symlink_to("/opt/only-on-the-node.toml")


def a_link_to_another_file(path: Path) -> None:
    """In the pod it leads to a file of the agent's image."""
    path.symlink_to("/etc/passwd")


def a_private_file(path: Path) -> None:
    path.write_bytes(B)
    give_away(path, 0o600)


def a_directory(path: Path) -> None:
    path.mkdir()


def no_toml(path: Path) -> None:
    path.write_bytes(b"[plugins")


def nothing(_: Path) -> None:
    """Leave the file out, which an administrator has just named or removed."""


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        (a_link_to_elsewhere, "is a link to outside of"),
        (a_link_to_another_file, "is a link to outside of"),
        (a_private_file, "make it readable for root"),
        (a_directory, "make it readable for root"),
        (no_toml, "no valid TOML"),
        (nothing, "is missing"),
    ],
)
@pytest.mark.parametrize("name", ["config.toml", "own.toml"])
def test_unreadable_file_is_a_doubt(node: NodeFiles, name: str, foreign: Callable[[Path], None], reason: str) -> None:
    if name == "config.toml" and foreign is nothing:
        assert read(node) == Configuration()
        return
    if name != "config.toml":
        main_with(node, name)
    foreign(node.containerd.parent / name)
    with without_capabilities():
        assert reason in doubted(node)


def test_link_within_the_folder_is_followed(node: NodeFiles) -> None:
    main = main_with(node, "conf.d/*.toml")
    node.put("etc/containerd/real/own.toml", B)
    (node.containerd.parent / "conf.d").symlink_to("real")
    assert read(node) == Configuration((main, B))


@pytest.mark.parametrize("pattern", ["conf.d/*.toml", "*/*.toml"])
def test_linked_folder_is_a_doubt(node: NodeFiles, pattern: str) -> None:
    main_with(node, pattern)
    (node.containerd.parent / "conf.d").symlink_to("/opt/only-on-the-node")
    assert "is a link to outside of" in doubted(node)


def test_private_folder_is_a_doubt(node: NodeFiles) -> None:
    main_with(node, "conf.d/*.toml")
    folder = node.put("etc/containerd/conf.d/10.toml", B).parent
    give_away(folder, 0o700)
    with without_capabilities():
        assert "cannot be read by the agent" in doubted(node)
