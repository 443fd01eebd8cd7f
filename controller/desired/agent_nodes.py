"""Build the node affinity of the agents from HOSTESS_NODE_SELECTOR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.desired.pod_settings import stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.selectors import NodeSelectorRequirement
    from common.types import Json

# Labels of nodes without a machine of their own. Their pods cannot mount folders of a node, so no agent can run there.
VIRTUAL: Final = {
    "eks.amazonaws.com/compute-type": "fargate",
    "type": "virtual-kubelet",  # also Azure Container Instances and other providers of virtual-kubelet
    "liqo.io/type": "virtual-node",
}


def agent_affinity(selector: Sequence[NodeSelectorRequirement]) -> Json:
    """Return the affinity. A virtual node is left out if no requirement names its label."""
    named = {each.key for each in selector}
    excluded = [
        {"key": key, "operator": "NotIn", "values": [value]} for key, value in VIRTUAL.items() if key not in named
    ]
    expressions = [*map(stored, selector), *excluded]
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
        }
    }
