"""Test that docs/support.md names the versions that the tests run."""

from __future__ import annotations

import re

from deploy.manifests import CHART
from docs.generate import FOLDER
from tests.localcluster.node import programs
from tests.localcluster.system import REPOSITORY
from tests.node.test_containerd_versions import VERSIONS

LOCAL = REPOSITORY / "tests" / "localcluster"
TEXT = (FOLDER / "support.md").read_text()


def required(module: str, go_mod: str) -> str:
    """Return the version of a Go module that a program of the local cluster requires."""
    (version,) = re.findall(rf"^\s+{re.escape(module)} v(\S+)$", (LOCAL / go_mod).read_text(), re.MULTILINE)
    return str(version)


def test_versions_are_those_of_tests() -> None:
    versions = {
        required("k8s.io/kubernetes", "components/go.mod"),
        required("github.com/cert-manager/cert-manager", "certmanager/go.mod"),
        programs.HELM.source.rpartition("@v")[2],
        programs.REGISTRY_VERSION,
        *VERSIONS,
    }
    assert versions <= set(re.findall(r"\d+\.\d+\.\d+", TEXT)), versions


def test_needed_kubernetes_is_that_of_chart() -> None:
    (minimum,) = re.findall(r'^kubeVersion: ">=(\d+\.\d+)\.', (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert f"| Kubernetes | {minimum} or newer |" in TEXT


def test_named_tests_exist() -> None:
    named = re.findall(r"`(tests/[^`]+)`", TEXT)
    assert len(named) > len(VERSIONS)
    assert [each for each in named if not (REPOSITORY / each).exists()] == []
