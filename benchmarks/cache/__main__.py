"""Measure the cache beside distribution, print tables and write benchmarks/results/: `python -m benchmarks.cache`."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

import orjson

from benchmarks import drawing
from benchmarks.__main__ import RESULTS
from benchmarks.cache import plots, report
from benchmarks.cache.run import Plan, run


def main() -> None:
    """Run the benchmark of the command line."""
    plan = _plan()
    found = run(plan)
    tables = report.markdown(found)
    cores = os.cpu_count()
    machine = f"{cores} CPUs, load {found.load_before:.1f} before the run, {os.getloadavg()[0]:.1f} at its end"
    files = {
        "cache.md": tables.encode(),
        "cache.json": orjson.dumps({"plan": asdict(plan), **asdict(found)}, option=orjson.OPT_INDENT_2),
        "cache-herd.svg": drawing.as_svg(plots.herd_charts(found)).encode(),
        "cache-stored.svg": drawing.as_svg(plots.stored_charts(found)).encode(),
    }
    RESULTS.mkdir(exist_ok=True)
    for name, content in files.items():
        (RESULTS / name).write_bytes(content)
    print(f"{machine}\n\n{tables}\nwritten: {', '.join(f'benchmarks/results/{name}' for name in files)}")


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description="See benchmarks/README.md.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median counts (3)")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the image that herds pull (200)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 5, 20, 50], help="sizes of herds (1 5 20 50)")
    parser.add_argument("--small", type=int, default=200, help="number of small images (200)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each rate (3)")
    given = parser.parse_args()
    return Plan(given.rounds, given.megabytes, given.clients, given.small, given.seconds)


if __name__ == "__main__":
    main()
