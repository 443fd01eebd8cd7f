"""Test what the metrics count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.metrics import Metrics
from cache.model.reference import Kind, Reference, Request
from cache.model.results import Result

if TYPE_CHECKING:
    import pytest


def test_repositories_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repositories beyond the limit share one series. Those before it go on to count."""
    monkeypatch.setattr("cache.metrics._REPOSITORIES_MAX", 2)
    metrics = Metrics(counts_repositories=True)
    for host, name in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "z"), ("b", "x")):
        metrics.count(host, Request(Reference(Kind.MANIFEST, name, "latest")), Result.HIT)
    samples = next(iter(metrics.repository_requests.collect())).samples
    counts = {tuple(each.labels.values()): each.value for each in samples if each.name.endswith("_total")}
    assert counts == {("a", "x"): 1, ("b", "x"): 2, ("a", "(other)"): 2}
