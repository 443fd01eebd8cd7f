"""Test that created folders are removed again, and foreign ones stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hostess.containerd import literal_path
from hostess.fs import owned_directories
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_release_removes_created_parents(tmp_path: Path) -> None:
    owned_directories.ensure(tmp_path / "a/b/c")
    assert owned_directories.is_owned(tmp_path / "a/b")
    owned_directories.release(tmp_path / "a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_used_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    owned_directories.ensure(tmp_path / "theirs/ours/deep")
    (tmp_path / "theirs/ours/file").touch()
    owned_directories.release(tmp_path / "theirs/ours/deep")
    assert sorted(path.name for path in (tmp_path / "theirs/ours").iterdir()) == [owned_directories.MARKER, "file"]
    (tmp_path / "theirs/ours/file").unlink()
    owned_directories.release(tmp_path / "theirs/ours")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    owned_directories.release(tmp_path / "theirs")
    owned_directories.release(tmp_path / "nothing")
    assert (tmp_path / "theirs").is_dir()


def test_dangling_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "certs.d").symlink_to("/nowhere")
    with pytest.raises(NotADirectoryError, match="a link to outside of the mounts"):
        owned_directories.ensure(tmp_path / "certs.d/host")
    assert [path.name for path in tmp_path.iterdir()] == ["certs.d"]


def test_leftovers_of_killed_agents_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".registry-mirror.new").mkdir()
    owned_directories.ensure(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / ".registry-mirror.new").mkdir()
    owned_directories.release(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_literal_path_links_to_missing_folder(tmp_path: Path) -> None:
    target = tmp_path / "containerd/certs.d"
    target.parent.mkdir()
    path = tmp_path / "containerd/certs.d:/etc/docker/certs.d"
    for _ in range(2):
        literal_path.provide(str(path), target)
        assert path.readlink() == target
    literal_path.remove(target)
    assert list(target.parent.iterdir()) == []


def test_foreign_literal_path_stays(tmp_path: Path) -> None:
    target = tmp_path / "certs.d"
    target.mkdir()
    theirs = tmp_path / "certs.d:/x"
    theirs.parent.mkdir()
    theirs.symlink_to(target)
    literal_path.provide(str(theirs), target)
    literal_path.remove(target)
    assert theirs.readlink() == target


@pytest.mark.parametrize("path", ["certs.d:/file", "elsewhere/certs.d"])
def test_literal_path_in_the_way_is_reported(tmp_path: Path, path: str) -> None:
    target = tmp_path / "containerd/certs.d"
    place = (target.parent if ":" in path else tmp_path) / path
    place.parent.mkdir(parents=True)
    place.touch()
    with pytest.raises(NodeConfigError, match="Set config_path"):
        literal_path.provide(str(place), target)
