"""Draw bars as text for a terminal and as SVG for a page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.charts import Bar, Chart

COLUMNS: Final = 40  # characters of the longest bar
# Pixels of the SVG: widths of labels, longest bar and values; height of a line.
LABELS, LONGEST, VALUES, LINE = 260, 380, 90, 22


def as_text(charts: list[Chart]) -> str:
    """Return bars of block characters."""
    return "\n\n".join("\n".join([chart.title, *_text_bars(chart)]) for chart in charts)


def as_svg(charts: list[Chart]) -> str:
    """Return an SVG document with a white background."""
    shapes: list[str] = []
    line = 1
    for chart in charts:
        shapes += [_label(0, line, chart.title, weight="bold")]
        for offset, bar in enumerate(chart.bars, 1):
            shapes += _svg_bar(line + offset, bar, bar.value / _longest(chart), chart.unit)
        line += len(chart.bars) + 2
    width, height = LABELS + LONGEST + VALUES, line * LINE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([f'{head} font-family="sans-serif" font-size="13">', background, *shapes, "</svg>", ""])


def _text_bars(chart: Chart) -> list[str]:
    return [
        f"  {bar.label:34} {'█' * max(1, round(COLUMNS * bar.value / _longest(chart)))} {_value(bar, chart.unit)}"
        for bar in chart.bars
    ]


def _svg_bar(line: int, bar: Bar, share: float, unit: str) -> list[str]:
    width = max(1.0, LONGEST * share)
    top = line * LINE - 14
    return [
        _label(12, line, bar.label),
        f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{LINE - 6}" fill="{bar.source.value}"/>',
        _label(LABELS + width + 6, line, _value(bar, unit)),
    ]


def _label(left: float, line: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{left:.1f}" y="{line * LINE}" font-weight="{weight}" fill="#20242a">{escape(text)}</text>'


def _longest(chart: Chart) -> float:
    return max(bar.value for bar in chart.bars) or 1.0


def _value(bar: Bar, unit: str) -> str:
    digits = 0 if bar.value >= 100 else 1 if bar.value >= 10 else 2
    return f"{bar.value:.{digits}f} {unit}".rstrip()
