"""Check that an API server with the kinds of the Prometheus Operator accepts the overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.localcluster.cluster import Cluster
from tests.localcluster.node import programs
from tests.localcluster.system import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
KINDS = ("podmonitors", "prometheusrules")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start an API server with the namespace and the kinds of the operator."""
    crds = programs.module(OPERATOR) / "example" / "prometheus-operator-crd"
    files = [f"--filename={crds}/monitoring.coreos.com_{each}.yaml" for each in KINDS]
    with Cluster(tmp_path_factory.mktemp("operator")).start(controllers=False, scheduler=False) as cluster:
        cluster.run_kubectl("apply", "--server-side", *files)
        cluster.run_kubectl("wait", "--for=condition=Established", "--timeout=30s", *files)
        cluster.run_kubectl("apply", f"--filename={REPOSITORY}/deploy/namespace.yaml")
        yield cluster


def test_overlay_is_accepted(cluster: Cluster, tmp_path: Path) -> None:
    """No field is unknown to the kinds of the operator."""
    (tmp_path / "base").symlink_to(REPOSITORY / "deploy")
    kustomization = {"resources": ["base"], "components": ["base/overlays/monitoring"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    built = list(yaml.safe_load_all(cluster.run_kubectl("kustomize", str(tmp_path)).stdout))
    ours = [each for each in built if "monitoring" in each["apiVersion"] or each["kind"] == "ConfigMap"]
    assert len(ours) == 6, "four PodMonitors, the rules and the dashboard"
    arguments = ("apply", "--dry-run=server", "--validate=strict", "--filename=-")
    printed = cluster.run_kubectl(*arguments, stdin=yaml.safe_dump_all(ours)).stdout
    assert printed.count("(server dry run)") == len(ours)
