"""Read the text format of Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SAMPLE: Final = re.compile(
    r'(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (?P<value>\S+)'
)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPES: Final = {"n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: name, labels and value."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """Yield the samples of a page."""
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found and not line.startswith("#"):
            labels = {key: _unescaped(value) for key, value in _LABEL.findall(found["labels"] or "")}
            yield Sample(found["name"], labels, float(found["value"]))


def total(found: Iterable[Sample], metric: str, **labels: str) -> float:
    """Return the sum of a metric over all series with the labels."""
    return sum(
        each.value
        for each in found
        if each.name == metric and all(each.labels.get(key) == value for key, value in labels.items())
    )


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text)
