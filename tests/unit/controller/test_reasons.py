"""Test the table of reasons. tests/unit/test_generated_documents.py compares docs/conditions.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.status import reasons

if TYPE_CHECKING:
    from controller.model.condition import Reason

ROOT = Path(__file__).parents[3]
EVERY = list(reasons.every())


@pytest.mark.parametrize("reason", EVERY, ids=lambda reason: f"{reason.type}-{reason.name}-{reason.status}")
def test_reason_is_complete(reason: Reason) -> None:
    """A reason is CamelCase. One that needs attention has a remedy."""
    assert re.fullmatch(r"[A-Z][A-Za-z]+", reason.name)
    assert reason.meaning.endswith(".")
    assert reason.status in {"True", "False", "Unknown", "Normal", "Warning"}
    assert (reason.action.endswith(".")) or (reason.status in {"True", "Normal"} and not reason.action)


def test_reasons_are_unique() -> None:
    keys = [(reason.type, reason.status, reason.name) for reason in EVERY]
    assert len(keys) == len(set(keys))


def test_names_stand_in_one_module() -> None:
    """Other modules refer to a reason by its constant."""
    names = {reason.name for reason in EVERY} - {reason.type for reason in EVERY}
    quoted = re.compile(r'"(' + "|".join(sorted(names)) + r')"')
    modules = [path for folder in ("controller", "hostess") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}: {match[1]}"
        for path in modules
        if path.name != "reasons.py"
        for match in quoted.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
