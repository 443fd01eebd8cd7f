"""Test writes on the node while another agent changes the same folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostess.fs import atomic

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_folder_is_removed_during_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is removed without the lock; an agent that holds the lock then removes the empty folder."""
    sync = atomic.sync_folder

    def sync_removed(folder: Path) -> None:
        folder.rmdir()
        sync(folder)

    monkeypatch.setattr(atomic, "sync_folder", sync_removed)
    path = tmp_path / "docker.io/hosts.toml"
    path.parent.mkdir()
    path.touch()
    assert atomic.remove(path)
    assert not path.parent.exists()
