"""Test that the documents agree with the code that they describe."""

from __future__ import annotations

import re

import pytest

from cache.metrics import Metrics
from docs.generate import DOCUMENTS, FOLDER


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_equals_generator_output(name: str) -> None:
    assert (FOLDER / name).read_text() == DOCUMENTS[name](), "run `python -m docs.generate`"


def test_metrics_of_the_cache_are_documented() -> None:
    section = (FOLDER / "cache.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    suffixes = {"counter": "_total"}
    families = Metrics().registry.collect()
    exposed = {family.name + suffixes.get(family.type, "") for family in families}
    documented = {f"registrymirror_cache_{name}" for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {name for name in exposed if name.startswith("registrymirror_cache_")}
