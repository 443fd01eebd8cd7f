"""Run all benchmarks, print and draw a table, and write benchmarks/results/: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

import orjson

from benchmarks import drawing, table
from benchmarks.charts import charts
from benchmarks.run import Plan, Run, run

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the benchmarks of the command line."""
    found = run(_plan())
    text = table.text(table.rows(found))
    machine = f"{os.cpu_count()} CPUs, load {os.getloadavg()[2]:.1f} in the last 15 minutes"
    print(f"\n{found.plan.mirrors} mirrors, {machine}\n\n{text}\n")
    print(drawing.as_text(charts(found)))
    _write(found, text)


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="See benchmarks/README.md.")
    parser.add_argument("--mirrors", type=int, default=500, help="mirrors of a burst (500)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of limit and burst; the median counts (3)")
    parser.add_argument("--rest", type=float, default=60.0, metavar="SECONDS", help="time at rest (60)")
    parser.add_argument(
        "--full",
        type=int,
        default=20,
        metavar="MIRRORS",
        help="mirrors beside all controllers of Kubernetes; 0 skips (20)",
    )
    arguments = parser.parse_args()
    return Plan(arguments.mirrors, arguments.rounds, arguments.rest, arguments.full)


def _write(found: Run, text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.txt").write_text(f"{text}\n")
    (RESULTS / "latest.json").write_bytes(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    (RESULTS / "latest.svg").write_text(drawing.as_svg(charts(found)))
    print(f"\nwritten: {', '.join(f'benchmarks/results/latest.{kind}' for kind in ('txt', 'json', 'svg'))}")


if __name__ == "__main__":
    main()
