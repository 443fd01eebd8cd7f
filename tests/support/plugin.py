"""Run the built plugin through kubectl, as a user does."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deploy import plugin

if TYPE_CHECKING:
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.cluster import Cluster

# Flags of kubectl that concern kubectl itself. The plugin refuses them.
REFUSED_FLAGS: Final = frozenset(
    {
        "--log-flush-frequency",
        "--match-server-version",
        "--profile",
        "--profile-output",
        "--version",
        "--vmodule",
    }
)


@dataclass(frozen=True)
class Plugin:
    """The plugin in a folder of PATH, beside the kubectl of a cluster."""

    cluster: Cluster
    folder: Path

    @classmethod
    def installed(cls, cluster: Cluster, folder: Path) -> Plugin:
        """Build the plugin into a folder, and link kubectl there."""
        plugin.write(folder)
        (folder / "kubectl").symlink_to(cluster.kubectl)
        return cls(cluster, folder)

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `kubectl registry-mirror`."""
        command = [str(self.folder / "kubectl"), "registry-mirror", *arguments]
        return subprocess.run(
            command, env=self.environment(kubeconfig), capture_output=True, text=True, check=False, timeout=120
        )

    def output(self, *arguments: str) -> str:
        """Return what a command prints, which succeeds."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def items(self, *arguments: str) -> list[Json]:
        """Return the items of a command, which succeeds."""
        found: list[Json] = json.loads(self.output(*arguments, "-o", "json"))["items"]
        return found

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Return the environment with the plugin in PATH."""
        found = {**self.cluster.client_environment, "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}
        return found | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
