"""The tables and plots of `make bench-cache`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import drawing
from benchmarks.cache import document, plots, report
from benchmarks.cache.figures import CACHE, DISTRIBUTION, LARGE, OPENSSL, SMALL, TAG, Herd, Rate, Run, SmallImages
from benchmarks.cache.run import Plan
from benchmarks.charts import Source
from docs.generate import FOLDER

ONCE = Herd(CACHE, 20, 1, 200.0, 5.0, 0.3, 1.0, 1.0, 1.0, 20.0, 1.1, 50.0, 100.0, 0.5)
ASKED = Rate(CACHE, LARGE, 8, 10.0, 600.0, 1.0, 60.0)


def a_run() -> Run:
    """Return a run in which the cache reaches all aims."""
    herds = [replace(ONCE, clients=count, replicas=replicas) for count in (1, 20, 50) for replicas in (1, 2)]
    others = [
        replace(each, engine=DISTRIBUTION, sent_ratio=float(each.clients), cpu_per_gb=2.6, seconds=80.0)
        for each in herds
    ]
    limit = replace(ONCE, engine=OPENSSL, seconds=6.0)
    rates = [replace(ASKED, scene=scene, clients=clients) for scene, clients in ((LARGE, 1), (LARGE, 8))]
    rates += [replace(ASKED, scene=scene, clients=clients) for scene, clients in ((SMALL, 8), (TAG, 64))]
    slower = [replace(each, engine=DISTRIBUTION, requests_per_second=2.0) for each in rates]
    small = [SmallImages(engine, 200, 5.0, 1.0, 2.0, 0.5, 1400.0) for engine in (CACHE, DISTRIBUTION)]
    return Run(0.1, [*herds, *others, limit], [*rates, *slower], small)


def test_all_aims_can_be_reached() -> None:
    assert [each.title for each in report.aims_of(a_run()) if not each.reached] == []
    assert len(report.aims_of(a_run())) == 11


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"sent_ratio": 1.5}, "bytes from the upstream, 50 clients, 2 replicas"),
        ({"most_per_manifest": 2.0}, "bytes from the upstream, 50 clients, 2 replicas"),
    ],
)
def test_second_transfer_misses_aim(change: Any, missed: str) -> None:
    """A blob or a manifest that the upstream sent twice misses the aim."""
    run = a_run()
    wrong = [
        replace(each, **change) if (each.engine, each.clients, each.replicas) == (CACHE, 50, 2) else each
        for each in run.herds
    ]
    found = report.aims_of(replace(run, herds=wrong))
    assert [each.title for each in found if not each.reached] == [missed]


def test_cold_herd_may_need_the_limit() -> None:
    """The aim is 1.3 times one client, or the limit if it is larger."""
    run = a_run()
    for seconds, reached in ((6.5, True), (6.6, False)):
        herds = [
            replace(each, seconds=seconds) if (each.engine, each.clients) == (CACHE, 20) else each for each in run.herds
        ]
        found = report.aims_of(replace(run, herds=herds))
        assert next(each for each in found if each.title == "last of 20 cold clients").reached is reached


def test_median_of_rounds_counts() -> None:
    rounds = [replace(ONCE, seconds=seconds) for seconds in (9.0, 5.0, 6.0)]
    found = Run(0.0, rounds, [], []).herd(CACHE, 20, 1)
    assert found is not None
    assert (found.seconds, found.clients) == (6.0, 20)


def test_tables_have_all_columns() -> None:
    for table in report.markdown(a_run()).split("\n\n"):
        head, *lines = table.strip().splitlines()
        assert {line.count("|") for line in lines} == {head.count("|")}


def test_short_run_has_no_aims() -> None:
    run = Run(0.0, [replace(ONCE, clients=2)], [], [])
    assert report.aims_of(run) == []
    assert "2 clients, 1 replica: cache" in report.markdown(run)


def test_plots_have_a_bar_per_figure() -> None:
    run = a_run()
    sent, *_ = plots.herd_charts(run)
    assert [(bar.value, bar.source) for bar in sent.bars[-2:]] == [(1.0, Source.OURS), (50.0, Source.PEER)]
    charts = [*plots.herd_charts(run), *plots.stored_charts(run)]
    document = ET.fromstring(drawing.as_svg(charts))  # noqa: S314 (our own)
    texts = [text.text for text in document.iter() if text.tag.endswith("text")]
    assert len(texts) == sum(1 + 2 * len(chart.bars) for chart in charts)


def test_plots_leave_out_empty_charts() -> None:
    assert plots.stored_charts(Run(0.0, [], [], [])) == []


def test_document_gets_tables_and_plots() -> None:
    """A second run replaces the part of the first one, and nothing else."""
    written, plan = (FOLDER / "performance.md").read_text(), Plan(3, 200, [1], 200, 3.0)
    generated = [
        document.section(report.markdown(a_run()), machine, "2026-01-31", plan) for machine in ("first", "2nd")
    ]
    before, _, after = (part.partition(document.END) for part in written.partition(document.BEGIN))
    twice = document.replaced(document.replaced(written, generated[0]), generated[1])
    assert twice == "".join([before[0], document.BEGIN, generated[1], document.END, after[2]])
    for each in (report.markdown(a_run()), f"]({document.HERD_PLOT})", f"]({document.STORED_PLOT})", "50 MB/s"):
        assert each in generated[1]


def test_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        document.replaced(document.BEGIN, "")
