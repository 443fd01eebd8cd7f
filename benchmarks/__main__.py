"""`python -m benchmarks`: measures, prints a table, draws it, and keeps both in benchmarks/results/."""

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
    """Measures as the command line says."""
    found = run(_plan())
    told = table.text(table.rows(found))
    print(f"\n{found.plan.mirrors} mirrors, {os.cpu_count()} CPUs, load {os.getloadavg()[2]:.1f} of late\n\n{told}\n")
    print(drawing.as_text(charts(found)))
    _keep(found, told)


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="See benchmarks/README.md.")
    parser.add_argument("--mirrors", type=int, default=500, help="mirrors of a burst (500)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of limit and burst; the middle one counts (3)")
    parser.add_argument("--rest", type=float, default=60.0, metavar="SECONDS", help="time at rest (60)")
    parser.add_argument("--full", type=int, default=20, metavar="MIRRORS", help="beside all of Kubernetes; 0: not (20)")
    given = parser.parse_args()
    return Plan(given.mirrors, given.rounds, given.rest, given.full)


def _keep(found: Run, told: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.txt").write_text(f"{told}\n")
    (RESULTS / "latest.json").write_bytes(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    (RESULTS / "latest.svg").write_text(drawing.as_svg(charts(found)))
    print(f"\nkept: {', '.join(f'benchmarks/results/latest.{kind}' for kind in ('txt', 'json', 'svg'))}")


if __name__ == "__main__":
    main()
