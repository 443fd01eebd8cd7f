"""Test that the generated documents are up to date."""

from __future__ import annotations

import pytest

from docs.generate import DOCUMENTS, FOLDER


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_equals_generator_output(name: str) -> None:
    assert (FOLDER / name).read_text() == DOCUMENTS[name](), "run `python -m docs.generate`"
