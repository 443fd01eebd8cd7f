"""Run Prometheus beside a local cluster, with what the overlay `monitoring` makes of it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from tests.localcluster.ports import LOOPBACK, free_port
from tests.localcluster.processes import Processes
from tests.localcluster.scraping import DEPLOY, configured
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json

DASHBOARD = DEPLOY / "chart" / "files" / "dashboard.json"
NAME = "prometheus"
# Variables of Grafana, as it replaces them for "All mirrors" and a short range.
VARIABLES = {"$__rate_interval": "20s", "$__range": "2m", "$mirror": ".*"}


def expressions_of_dashboard() -> list[str]:
    """Return the expression of each panel, without Grafana's variables."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [without_variables(target["expr"]) for panel in panels for target in panel["targets"]]


def without_variables(expression: str) -> str:
    """Return an expression without Grafana's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    http: httpx.Client

    def query(self, expression: str) -> list[Json]:
        """Return the samples of an expression now."""
        return list(self._get("query", query=expression)["result"])

    def value(self, expression: str) -> float | None:
        """Return the first value of an expression; None without data."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def points(self, expression: str, start: float, step: float) -> list[Json]:
        """Return the series of an expression from `start` (seconds since 1970) to now."""
        result = self._get("query_range", query=expression, start=start, end=time.time(), step=step)["result"]
        return list(result)

    def targets(self) -> dict[str, str]:
        """Return the health of each target by job and pod."""
        active = self._get("targets", state="active")["activeTargets"]
        return {f"{each['labels']['job']} {each['labels']['pod']}": each["health"] for each in active}

    def firing(self, name: str) -> list[Json]:
        """Return labels and annotations of the firing alerts of a rule."""
        found = self._get("alerts")["alerts"]
        return [each for each in found if each["state"] == "firing" and each["labels"]["alertname"] == name]

    def until_firing(self, name: str, seconds: float) -> Json:
        """Return an alert after it fires."""
        found = until(lambda: self.firing(name), why=f"{name} fires", seconds=seconds)
        return found[0]

    def until_resolved(self, name: str, seconds: float) -> None:
        """Wait until no alert of a rule fires."""
        until(lambda: not self.firing(name), why=f"{name} is resolved", seconds=seconds)

    def _get(self, path: str, **query: Any) -> Json:
        found: Json = self.http.get(f"/api/v1/{path}", params=query).raise_for_status().json()["data"]
        return found


@contextmanager
def running_prometheus(folder: Path, scraping: list[Json], groups: Json, interval: str) -> Iterator[Prometheus]:
    """Run Prometheus with these scrape configurations and rules."""
    port, processes = free_port(), Processes(folder)
    argv = configured(folder, scraping, groups, interval, f"{LOOPBACK}:{port}")
    processes.start(NAME, argv, {})
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=30) as http:
        processes.wait_ready(NAME, lambda: _is_ready(http))
        try:
            yield Prometheus(http)
        finally:
            processes.stop([NAME])


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/-/ready").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
