"""Take away the protection against deletion, as a user does who ignores it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.system import NAMESPACE
from tests.support.kube import until

if TYPE_CHECKING:
    from tests.localcluster.cluster import Cluster

BINDING = "validatingadmissionpolicybinding/registrymirror-deletion-protection"


def unprotect(cluster: Cluster) -> None:
    """Delete the policy's binding; return when the API server no longer applies it."""
    cluster.run_kubectl("delete", BINDING)
    tried = ("delete", "namespace", NAMESPACE, "--dry-run=server")
    until(lambda: cluster.run_kubectl(*tried, check=False).returncode == 0, why="the API server drops the policy")
