"""Test the search path of containerd."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostess.containerd.certs_d import folder_name, search_path

ROOTS = (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("host", "folder"),
    [
        ("docker.io", "docker.io"),
        ("example.com:5000", "example.com_5000_"),
        ("10.0.0.1:5000", "10.0.0.1_5000_"),
        ("[fd00::1]:5000", "[fd00::1]_5000_"),
        ("[fd00::1]", "[fd00:_1]_"),
    ],
)
def test_folder_name(host: str, folder: str) -> None:
    assert folder_name(host) == folder


def test_search_path_order() -> None:
    names = ["h_1_", "h:1", "_default"]
    assert list(search_path(ROOTS, "h:1")) == [root / name for root in ROOTS for name in names]
    assert list(search_path(ROOTS[:1], "h")) == [Path("/a/h"), Path("/a/_default")]
