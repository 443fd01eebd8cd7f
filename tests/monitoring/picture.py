"""Draw main plots of the dashboard as one SVG, from the data of a run."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tests.support.prometheus import DASHBOARD, without_variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json
    from tests.support.prometheus import Prometheus

TITLES = (
    "Hit rate",
    "Bytes sent to nodes, bytes from the upstream",
    "Pulls",
    "Time of requests of nodes",
    "Nodes that bypass the mirror",
    "Used share of the volumes",
)
POINTS = 120  # of one line
COLOURS = ("#2a6fb0", "#b5532d", "#3d8b4f", "#8a5bb0", "#8a8f98")
# Pixels: a plot and its margins, with room for the largest value on the left.
WIDTH, HEIGHT, LEFT, TOP, GAP, LEGEND = 340, 120, 70, 40, 30, 16
COLUMNS = 2
SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))
UNITS = {"percentunit": "%", "Bps": "B/s", "reqps": "/s", "s": "s", "short": ""}


@dataclass(frozen=True)
class Fault:
    """A fault from its begin until its alert fired, in seconds since 1970."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True)
class Line:
    """Values by seconds since the start."""

    label: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """One panel."""

    title: str
    unit: str
    lines: list[Line]


def of(prometheus: Prometheus, began: float, faults: list[Fault]) -> str:
    """Return the picture of a run that began at a time (seconds since 1970), with a band for each fault."""
    length = time.time() - began
    panels = {each["title"]: each for each in json.loads(DASHBOARD.read_text())["panels"]}
    # The later of two panels with one title is the plot.
    plots = [_plot(prometheus, panels[title], began, length) for title in TITLES]
    rows = math.ceil(len(plots) / COLUMNS)
    tallest = TOP + HEIGHT + GAP + LEGEND * max(len(each.lines) for each in plots)
    width, height = COLUMNS * (LEFT + WIDTH + GAP), rows * tallest + LEGEND * (len(faults) + 1)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    shapes = [f'{head} font-family="sans-serif" font-size="12" fill="#20242a">']
    shapes.append(f'<rect width="{width}" height="{height}" fill="#ffffff"/>')
    for number, plot in enumerate(plots):
        row, column = divmod(number, COLUMNS)
        left, top = LEFT + column * (LEFT + WIDTH + GAP), TOP + row * tallest
        bands = _bands(faults, began, length)
        shapes += [f'<g transform="translate({left},{top})">', *bands, *_shapes(plot, length), "</g>"]
    for number, fault in enumerate(faults, 1):
        shapes.append(f'<text x="{LEFT}" y="{rows * tallest + LEGEND * number}">{number}: {fault.name}</text>')
    return "\n".join([*shapes, "</svg>", ""])


def _plot(prometheus: Prometheus, panel: Json, began: float, length: float) -> Plot:
    lines = [
        Line(_label(target["legendFormat"], series["metric"]), list(_points(series["values"], began)))
        for target in panel["targets"]
        for series in prometheus.points(without_variables(target["expr"]), began, length / POINTS)
    ]
    return Plot(panel["title"], panel["fieldConfig"]["defaults"]["unit"], lines)


def _label(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template


def _points(values: list[tuple[float, str]], began: float) -> Iterator[tuple[float, float]]:
    """Yield the points without NaN, which a division by zero gives."""
    for when, value in values:
        if math.isfinite(float(value)):
            yield when - began, float(value)


def _bands(faults: list[Fault], began: float, length: float) -> Iterator[str]:
    for number, fault in enumerate(faults, 1):
        left, right = (WIDTH * (each - began) / length for each in (fault.began, fault.ended))
        yield f'<rect x="{left:.1f}" width="{right - left:.1f}" height="{HEIGHT}" fill="#f4ead6"/>'
        yield f'<text x="{left:.1f}" y="11" font-size="10" fill="#8a8f98">{number}</text>'


def _shapes(plot: Plot, length: float) -> Iterator[str]:
    largest = max((value for line in plot.lines for _, value in line.points), default=0.0) or 1.0
    yield f'<text x="0" y="-12" font-weight="bold">{escape(plot.title)}</text>'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#c8ccd2"/>'
    yield f'<text x="-6" y="10" text-anchor="end">{_text(largest, plot.unit)}</text>'
    yield f'<text x="-6" y="{HEIGHT}" text-anchor="end">0</text>'
    yield f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{length:.0f} s</text>'
    for number, line in enumerate(plot.lines):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{WIDTH * second / length:.1f},{HEIGHT - HEIGHT * value / largest:.1f}" for second, value in line.points
        )
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        y = HEIGHT + GAP + LEGEND * number
        yield f'<text x="0" y="{y}" fill="{colour}">{escape(line.label)}</text>'


def _text(value: float, unit: str) -> str:
    """Return a value with its unit, in three digits."""
    if unit == "percentunit":
        return f"{value * 100:.0f} %"
    scale, prefix = next((each for each in SCALES if value >= each[0]), SCALES[-1])
    return f"{value / scale:.3g} {prefix}{UNITS.get(unit, '')}".rstrip()
