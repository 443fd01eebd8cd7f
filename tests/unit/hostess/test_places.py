"""Where containerd looks for a host: spellings, roots, and their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostess.containerd.certs_d import folder_name, looked_at

ROOTS = (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("host", "folder"),
    [
        ("docker.io", "docker.io"),
        ("example.com:5000", "example.com_5000_"),
        ("10.0.0.1:5000", "10.0.0.1_5000_"),
        ("[fd00::1]:5000", "[fd00::1]_5000_"),
        ("[fd00::1]", "[fd00::1]"),
    ],
)
def test_a_host_with_a_port_has_a_spelling_without_a_colon(host: str, folder: str) -> None:
    assert folder_name(host) == folder


def test_the_own_spelling_comes_first_then_the_plain_one_then_the_default_in_each_root() -> None:
    names = ["h_1_", "h:1", "_default"]
    assert list(looked_at(ROOTS, "h:1")) == [root / name for root in ROOTS for name in names]
    assert list(looked_at(ROOTS[:1], "h")) == [Path("/a/h"), Path("/a/_default")]
