"""Test that each command of the documents is run by a test, or is listed with a reason."""

from __future__ import annotations

import pytest

from tests.documents import ALL, CHECKED, commands, coverage, exempt, is_complete


@pytest.mark.parametrize("document", CHECKED)
def test_no_command_is_forgotten(document: str) -> None:
    """The remedy is a scene in tests/documents.py, or a row in docs/development.md."""
    assert [each.text for each in commands(document) if not coverage(each)] == []


def test_scenes_and_rows_have_commands() -> None:
    """A scene or a row whose command was changed in the document is out of date."""
    assert [scene for scene in ALL if not scene.commands()] == []
    found = [each for document in CHECKED for each in commands(document)]
    assert [row for row in exempt() if not any(row.covers(each) for each in found)] == []


@pytest.mark.parametrize(
    ("text", "complete"),
    [("ls", True), ("ls \\", False), ("for a in b; do", False), ("for a in b; do\n  ls\ndone", True), ("ls |", False)],
)
def test_complete_commands_are_found(text: str, complete: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert is_complete(text) == complete
