"""What of a run is drawn: a few groups of bars, ours beside the limit and beside what the peers published."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from benchmarks import peers

if TYPE_CHECKING:
    from benchmarks.run import Run


class Source(Enum):
    """Where a bar's value is from; the value is its colour in the drawing."""

    OURS = "#2a6fb0"
    LIMIT = "#8a8f98"
    PUBLISHED = "#d9b26f"


@dataclass(frozen=True)
class Bar:
    """One bar."""

    label: str
    value: float
    source: Source


@dataclass(frozen=True)
class Chart:
    """Bars of one scale."""

    title: str
    unit: str
    bars: list[Bar]


def charts(run: Run) -> list[Chart]:
    """All of them."""
    typical, count = run.typical, run.plan.mirrors
    return [
        Chart(
            f"Burst of {count} mirrors",
            "s",
            [
                Bar("limit, the peers' four objects", typical.peers_limit.seconds, Source.LIMIT),
                Bar("limit, our six objects", typical.limit.seconds, Source.LIMIT),
                Bar("our controller", typical.burst.seconds, Source.OURS),
                Bar("our controller and webhook", run.with_webhook.seconds, Source.OURS),
            ],
        ),
        Chart(
            "Burst as a multiple of its limit",
            "",
            [Bar("our controller", typical.ratio, Source.OURS), *_published("ratio")],
        ),
        Chart(
            "Restart, to each mirror reconciled",
            "s",
            [Bar("our controller", run.restart.reconciled_seconds, Source.OURS), *_published("restart_seconds")],
        ),
        Chart(
            "Resident memory",
            "MiB",
            [Bar("our controller", typical.burst.resident_mib, Source.OURS), *_published("resident_mib")],
        ),
        Chart("Put right after", "ms", [Bar(each.title, each.median, Source.OURS) for each in run.drift]),
        Chart(
            "Create through the API server, 1 client, p50",
            "ms",
            [
                Bar("no webhook", run.reviews.without.p50, Source.LIMIT),
                Bar("our webhook", run.reviews.ours.p50, Source.OURS),
            ],
        ),
    ]


def _published(figure: str) -> list[Bar]:
    return [Bar(f"{peer.name} (published)", getattr(peer, figure), Source.PUBLISHED) for peer in peers.PEERS]
