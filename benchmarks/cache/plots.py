"""Select the figures that are drawn: those of the herds, and those of stored content. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.cache.figures import CACHE, DISTRIBUTION, LARGE, OPENSSL, SMALL, TAG
from benchmarks.cache.report import ASKING, SOME, counted
from benchmarks.charts import Bar, Chart, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.cache.figures import Herd, Rate, Run

SOURCES: Final = {CACHE: Source.OURS, DISTRIBUTION: Source.PEER, OPENSSL: Source.LIMIT}


def herd_charts(run: Run) -> list[Chart]:
    """Return the charts of herds, without those that have no figure."""
    sizes = sorted({(each.clients, each.replicas) for each in run.herds if each.engine == CACHE})
    whole = [(clients, replicas) for clients, replicas in sizes if clients <= SOME]
    charts = [
        Chart("Bytes from the upstream, as multiples of the image", "x", list(_herd_bars(run, sizes, _sent))),
        Chart("Last client, cold", "s", list(_herd_bars(run, whole, _seconds))),
        Chart("Peak of the resident memory, cold", "MiB", list(_herd_bars(run, sizes, _peak))),
    ]
    return [each for each in charts if each.bars]


def stored_charts(run: Run) -> list[Chart]:
    """Return the charts of stored content, without those that have no figure."""
    charts = [
        Chart("60 MB blob, 8 clients", "MB/s", list(_rate_bars(run, LARGE, 8, _megabytes))),
        Chart("60 MB blob, 8 clients, CPU per GB", "s", list(_rate_bars(run, LARGE, 8, _cpu))),
        Chart("50 kB blobs per second, 8 clients", "", list(_rate_bars(run, SMALL, 8, _requests))),
        Chart(f"Manifests by tag per second, {ASKING} clients", "", list(_rate_bars(run, TAG, ASKING, _requests))),
    ]
    return [each for each in charts if each.bars]


def _herd_bars(run: Run, sizes: list[tuple[int, int]], value: Callable[[Herd], float]) -> Iterator[Bar]:
    for clients, replicas in sizes:
        for engine, source in SOURCES.items():
            found = run.herd(engine, clients, replicas)
            if found and value(found):
                place = "stored files" if engine == OPENSSL else counted(replicas, "replica")
                yield Bar(f"{engine}, {counted(clients, 'client')}, {place}", value(found), source)


def _rate_bars(run: Run, scene: str, clients: int, value: Callable[[Rate], float]) -> Iterator[Bar]:
    for engine, source in SOURCES.items():
        found = run.rate(engine, scene, clients)
        if found:
            yield Bar(engine, value(found), source)


def _sent(found: Herd) -> float:
    return found.sent_ratio


def _seconds(found: Herd) -> float:
    return found.seconds


def _peak(found: Herd) -> float:
    return found.peak_mib


def _megabytes(found: Rate) -> float:
    return found.megabytes_per_second


def _cpu(found: Rate) -> float:
    return found.cpu_per_gb


def _requests(found: Rate) -> float:
    return found.requests_per_second
