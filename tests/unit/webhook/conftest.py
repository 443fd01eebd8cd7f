"""Provide certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Issuer, Mount

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="package")
def issuer() -> Issuer:
    """Return a CA."""
    return Issuer()


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Return an empty folder for the Secret's files."""
    return Mount(tmp_path / "tls")
