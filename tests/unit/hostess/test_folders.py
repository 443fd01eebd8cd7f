"""Folders that are made and taken away again, and those of others, which stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hostess.containerd import literal_path
from hostess.fs import owned_directories
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_made_goes_up_to_what_was_there_before(tmp_path: Path) -> None:
    owned_directories.ensure(tmp_path / "a/b/c")
    assert owned_directories.is_ours_alone(tmp_path / "a/b")
    owned_directories.release(tmp_path / "a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_others_stays_and_so_does_one_of_ours_that_they_use(tmp_path: Path) -> None:
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


def test_a_link_that_leads_out_of_what_is_seen_is_told_and_nothing_made_in_vain(tmp_path: Path) -> None:
    (tmp_path / "certs.d").symlink_to("/nowhere")
    with pytest.raises(NotADirectoryError, match="a link that leads out of what the agent sees"):
        owned_directories.ensure(tmp_path / "certs.d/host")
    assert [path.name for path in tmp_path.iterdir()] == ["certs.d"]


def test_what_a_killed_one_left_is_neither_in_the_way_nor_left(tmp_path: Path) -> None:
    (tmp_path / ".registry-mirror.new").mkdir()
    owned_directories.ensure(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / ".registry-mirror.new").mkdir()
    owned_directories.release(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_literal_path_leads_to_the_folder_whether_that_is_there_or_not(tmp_path: Path) -> None:
    target = tmp_path / "containerd/certs.d"
    target.parent.mkdir()
    path = tmp_path / "containerd/certs.d:/etc/docker/certs.d"
    for _ in range(2):
        literal_path.provide(str(path), target)
        assert path.readlink() == target
    literal_path.remove(target)
    assert list(target.parent.iterdir()) == []


def test_a_link_of_somebody_else_beside_ours_stays(tmp_path: Path) -> None:
    target = tmp_path / "certs.d"
    target.mkdir()
    theirs = tmp_path / "certs.d:/x"
    theirs.parent.mkdir()
    theirs.symlink_to(target)
    literal_path.provide(str(theirs), target)  # it leads where it should
    literal_path.remove(target)
    assert theirs.readlink() == target


@pytest.mark.parametrize("path", ["certs.d:/file", "elsewhere/certs.d"])
def test_what_is_in_the_way_is_told(tmp_path: Path, path: str) -> None:
    target = tmp_path / "containerd/certs.d"
    place = (target.parent if ":" in path else tmp_path) / path
    place.parent.mkdir(parents=True)
    place.touch()
    with pytest.raises(NodeConfigError, match="set config_path"):
        literal_path.provide(str(place), target)
