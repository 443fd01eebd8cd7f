"""Measure the cache beside distribution, print tables and write benchmarks/results/: `python -m benchmarks.cache`.

With `--docs` it also writes the tables and plots of docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks import drawing
from benchmarks.__main__ import RESULTS
from benchmarks.cache import document, plots, report
from benchmarks.cache.run import Plan, run
from benchmarks.cache.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCS: Final = ROOT / "docs"


def main() -> None:
    """Run the benchmark of the command line."""
    given = _parser().parse_args()
    plan = Plan(given.rounds, given.megabytes, given.clients, given.small, given.seconds)
    found = run(plan)
    tables = report.markdown(found)
    cores = os.cpu_count()
    machine = f"{cores} CPUs, load {found.load_before:.1f} before the run, {os.getloadavg()[0]:.1f} at its end"
    pictures = {
        document.HERD_PLOT: drawing.as_svg(plots.herd_charts(found)).encode(),
        document.STORED_PLOT: drawing.as_svg(plots.stored_charts(found)).encode(),
    }
    files = {
        "cache.md": tables.encode(),
        "cache.json": orjson.dumps({"plan": asdict(plan), **asdict(found)}, option=orjson.OPT_INDENT_2),
        **pictures,
    }
    _write(RESULTS, files)
    print(f"{machine}\n\n{tables}\nwritten: {', '.join(f'benchmarks/results/{name}' for name in files)}")
    if given.docs:
        performance = DOCS / "performance.md"
        generated = document.section(tables, machine, time.strftime("%Y-%m-%d"), plan)
        _write(DOCS, {performance.name: document.replaced(performance.read_text(), generated).encode(), **pictures})


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description="See benchmarks/README.md.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median counts (3)")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the image that herds pull (200)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 5, 20, 50], help="sizes of herds (1 5 20 50)")
    parser.add_argument("--small", type=int, default=200, help="number of small images (200)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each rate (3)")
    parser.add_argument("--docs", action="store_true", help="write tables and plots of docs/performance.md")
    return parser


if __name__ == "__main__":
    main()
