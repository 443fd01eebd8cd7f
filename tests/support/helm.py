"""Run helm with the chart of deploy/."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from deploy.manifests import CHART, RELEASE
from tests.localcluster import clients
from tests.localcluster.node import programs

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.cluster import Cluster

EXAMPLES = CHART / "examples"
BASE = CHART / "files" / "base.yaml"  # values of the manifests in deploy/


class UniqueKeyLoader(yaml.SafeLoader):
    """Refuse a key that stands twice in a mapping. Flux refuses it, and Helm does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as its base
        """Return the mapping."""
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"duplicate key{node.start_mark}: {keys}"
        return super().construct_mapping(node, deep)


def parse(printed: str) -> list[Json]:
    """Return the objects that helm printed."""
    return [each for each in yaml.load_all(printed, UniqueKeyLoader) if each]


class Helm:
    """Helm, with access to `cluster` if given. Its own files are in `folder`."""

    def __init__(self, folder: Path, cluster: Cluster | None = None) -> None:
        self.binary = programs.build(programs.HELM)
        self._environment = {**(cluster.client_environment if cluster else os.environ), **clients.files_in(folder)}

    def run(
        self, *arguments: str | Path, check: bool = True, namespace: str = RELEASE
    ) -> subprocess.CompletedProcess[str]:
        """Run helm in the namespace of the release."""
        command = [self.binary, *arguments, f"--namespace={namespace}"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"helm {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done

    def template(self, *values: Path | Json, hooks: bool = False) -> list[Json]:
        """Return the objects that the chart renders with these files or values."""
        more = [f"--set-json={json.dumps(each)}" if isinstance(each, dict) else f"--values={each}" for each in values]
        flags = [] if hooks else ["--no-hooks"]
        return parse(self.run("template", RELEASE, CHART, *more, *flags).stdout)


def by_name(objects: list[Json]) -> dict[tuple[str, str], Json]:
    """Return objects by kind and name."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found
