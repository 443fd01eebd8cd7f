"""Run Prometheus beside a local cluster, with what the overlay `monitoring` makes of it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.localcluster.ports import LOOPBACK, free_port
from tests.localcluster.processes import Processes
from tests.localcluster.prometheus import programs
from tests.localcluster.system import REPOSITORY
from tests.support.kube import NAMESPACE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json

DEPLOY = REPOSITORY / "deploy"
RULES, DASHBOARD = (DEPLOY / "chart" / "files" / name for name in ("rules.yaml", "dashboard.json"))
POD_MONITORS = DEPLOY / "overlays" / "monitoring" / "podmonitors.yaml"
NAME = "prometheus"
POD_LABEL = "__meta_kubernetes_pod_label_"
# Variables of Grafana, as it replaces them for "All mirrors" and a short range.
VARIABLES = {"$__rate_interval": "20s", "$__range": "2m", "$mirror": ".*"}


@cache
def rules() -> Json:
    """Return the groups of the PrometheusRule, as in a rules file."""
    found: Json = yaml.safe_load(RULES.read_text())
    return found


@cache
def pod_monitors() -> tuple[Json, ...]:
    """Return the PodMonitors."""
    return tuple(yaml.safe_load_all(POD_MONITORS.read_text()))


def expressions_of_dashboard() -> list[str]:
    """Return the expression of each panel, without Grafana's variables."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [without_variables(target["expr"]) for panel in panels for target in panel["targets"]]


def without_variables(expression: str) -> str:
    """Return an expression without Grafana's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def target_groups(pods: list[Json]) -> list[Json]:
    """Return the targets that Prometheus discovers in pods, with the labels that the PodMonitors need.

    Debian builds Prometheus without the discovery of Kubernetes.
    """
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
                "__meta_kubernetes_pod_container_name": container["name"],
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                **{f"{POD_LABEL}{_label(key)}": value for key, value in pod["metadata"]["labels"].items()},
            },
        }
        for pod in pods
        if "podIP" in pod["status"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]


def scrape_configs(targets: Path, secrets: Path, interval: str) -> list[Json]:
    """Return the scrape configurations that the Prometheus Operator makes of the PodMonitors.

    `targets` is a file with target groups, `secrets` a folder with the files of the Secrets that they name.
    """
    return [
        {
            "job_name": f"podMonitor/{NAMESPACE}/{monitor['metadata']['name']}/{number}",
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "scheme": endpoint.get("scheme", "http"),
            "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
            "relabel_configs": list(_relabelings(monitor, endpoint)),
            **_tls(endpoint, secrets),
        }
        for monitor in pod_monitors()
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def _relabelings(monitor: Json, endpoint: Json) -> Iterator[Json]:
    """Yield the relabelings in the operator's order."""
    for key, value in monitor["spec"]["selector"]["matchLabels"].items():
        yield {"action": "keep", "source_labels": [f"{POD_LABEL}{_label(key)}"], "regex": value}
    yield {
        "action": "keep",
        "source_labels": ["__meta_kubernetes_pod_container_port_name"],
        "regex": endpoint["port"],
    }
    for name in ("namespace", "pod_name", "pod_container_name"):
        target = name.removeprefix("pod_").removesuffix("_name") if name != "pod_name" else "pod"
        yield {"source_labels": [f"__meta_kubernetes_{name}"], "target_label": target}
    for label in monitor["spec"].get("podTargetLabels", ()):
        yield {"source_labels": [f"{POD_LABEL}{_label(label)}"], "target_label": label, "regex": "(.+)"}
    yield {"target_label": "job", "replacement": f"{NAMESPACE}/{monitor['metadata']['name']}"}
    for each in endpoint.get("relabelings", ()):
        yield {"source_labels": each["sourceLabels"], "target_label": each["targetLabel"]}


def _label(key: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in key)


def _tls(endpoint: Json, secrets: Path) -> Json:
    if "tlsConfig" not in endpoint:
        return {}
    secret = endpoint["tlsConfig"]["ca"]["secret"]
    file = secrets / secret["name"] / secret["key"]
    return {"tls_config": {"server_name": endpoint["tlsConfig"]["serverName"], "ca_file": str(file)}}


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
    folder.mkdir()
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups))
    configuration = {
        "global": {"evaluation_interval": interval},
        "scrape_configs": scraping,
        "rule_files": [str(folder / "rules.yaml")],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    port, processes = free_port(), Processes(folder)
    argv = [
        str(programs() / NAME),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
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
