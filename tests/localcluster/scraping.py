"""Configure Prometheus as the Prometheus Operator does with the objects of the overlay `monitoring`."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import yaml

from common.types import Json
from tests.localcluster.families import url_host
from tests.localcluster.prometheus import programs
from tests.localcluster.system import NAMESPACE, REPOSITORY

DEPLOY = REPOSITORY / "deploy"
RULES = DEPLOY / "chart" / "files" / "rules.yaml"
POD_MONITORS = DEPLOY / "overlays" / "monitoring" / "podmonitors.yaml"
POD_LABEL = "__meta_kubernetes_pod_label_"


@cache
def rules() -> Json:
    """Return the groups of the PrometheusRule, as in a rules file."""
    found: Json = yaml.safe_load(RULES.read_text())
    return found


@cache
def pod_monitors() -> tuple[Json, ...]:
    """Return the PodMonitors."""
    return tuple(yaml.safe_load_all(POD_MONITORS.read_text()))


def target_groups(pods: list[Json]) -> list[Json]:
    """Return the targets that Prometheus discovers in pods, with the labels that the PodMonitors need.

    Debian builds Prometheus without the discovery of Kubernetes.
    """
    return [
        {
            "targets": [f"{url_host(pod['status']['podIP'])}:{port['containerPort']}"],
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


def configured(folder: Path, scraping: Sequence[Json], groups: Json, interval: str, address: str) -> list[str]:
    """Write scrape configurations and rules; return the command line of Prometheus, which listens at `address`."""
    folder.mkdir()
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups))
    configuration = {
        "global": {"evaluation_interval": interval},
        "scrape_configs": list(scraping),
        "rule_files": [str(folder / "rules.yaml")],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    return [
        str(programs() / "prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
        f"--web.local-assets={programs().parent}/share/prometheus/web",
    ]
