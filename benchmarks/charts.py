"""Select the figures of a run that are drawn as bars, beside the limit and the published figures of the peers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from benchmarks import peers

if TYPE_CHECKING:
    from benchmarks.run import Run


class Source(Enum):
    """The origin of a bar's value, with its colour in the drawing."""

    OURS = "#2a6fb0"
    LIMIT = "#8a8f98"
    PEER = "#b5532d"  # measured in the same run
    PUBLISHED = "#d9b26f"


@dataclass(frozen=True)
class Bar:
    """One bar."""

    label: str
    value: float
    source: Source


@dataclass(frozen=True)
class Chart:
    """Bars with one scale."""

    title: str
    unit: str
    bars: list[Bar]


def charts(run: Run) -> list[Chart]:
    """Return all charts of a run."""
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
        Chart("Drift repaired after", "ms", [Bar(each.title, each.median, Source.OURS) for each in run.drift]),
        Chart(
            "Webhook, CPU per review at /validate",
            "ms",
            [
                Bar("bare Starlette application", run.admission.validate_cpu.bare, Source.LIMIT),
                Bar("our webhook", run.admission.validate_cpu.webhook, Source.OURS),
            ],
        ),
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
