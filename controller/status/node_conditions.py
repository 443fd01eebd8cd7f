"""The condition NodesConfigured: whether the nodes point at the mirror, and what keeps those that do not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.defaults import dict_at
from controller.model.condition import NODES_CONFIGURED, Condition
from controller.model.inputs import MissingInput
from controller.nodes import agent_status
from controller.objects.rollout import is_behind
from controller.status.conditions import describe, foreign

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.model.observation import Observation


def nodes_configured(mirror: Mirror, observation: Observation, holder: str | None) -> Condition:
    """Whether the nodes point at the mirror."""
    if holder is not None:
        message = (
            f"RegistryMirror {holder} is older and has {mirror.masquerade} on the nodes; set another"
            f" spec.masqueradeUrl, or delete {holder}, and this mirror takes over."
        )
        return Condition(NODES_CONFIGURED, "False", "MasqueradeConflict", message)
    somebodys = foreign(observation, nodes=True)
    if somebodys:
        return Condition(NODES_CONFIGURED, "False", "ObjectNotOwned", somebodys)
    if observation.daemon_set is None:
        return Condition(NODES_CONFIGURED, "False", "NodesPending", "The DaemonSet does not exist yet.")
    return _nodes_counted(mirror, observation.daemon_set, observation)


def cleaning(waiting: str) -> Condition:
    """A mirror that is being deleted stays until it is off the nodes."""
    return Condition(NODES_CONFIGURED, "False", "Cleaning", waiting)


def _nodes_counted(mirror: Mirror, daemon_set: Json, observation: Observation) -> Condition:
    desired, ready = node_counts(daemon_set)
    if is_behind(daemon_set):
        message = "The DaemonSet has just changed; Kubernetes has not counted its nodes yet."
        return Condition(NODES_CONFIGURED, "False", "NodesPending", message)
    if desired == 0:
        message = "No node is to have the agent; see HOSTESS_NODE_SELECTOR, if there are nodes."
        return Condition(NODES_CONFIGURED, "Unknown", "NoNodes", message)
    if ready < desired:
        said = agent_status.sentences(observation.agents)
        why = f". {said}" if said else f"; {describe(mirror, 'daemonset,pod')}"
        message = f"{ready} of {desired} nodes point at the mirror{why}"
        return Condition(NODES_CONFIGURED, "False", agent_status.reason_of(observation.agents), message)
    message = f"All of {desired} nodes point at the mirror.{_images_elsewhere(mirror, observation.inputs)}"
    return Condition(NODES_CONFIGURED, "True", "AllNodesReady", message)


def _images_elsewhere(mirror: Mirror, inputs: Inputs | MissingInput) -> str:
    """A sentence about the older mirror of the same upstream, through which nodes pull; empty where there is none."""
    if isinstance(inputs, MissingInput) or inputs.images_holder is None:
        return ""
    return (
        f" Images of {mirror.upstream.image_host} come through RegistryMirror {inputs.images_holder}, which is older;"
        f" this one is reached as {mirror.masquerade}/..., and takes over when {inputs.images_holder} is gone."
    )


def node_counts(daemon_set: Json | None) -> tuple[int, int]:
    """Nodes that are to run the agent, and those on which it is ready, as far as it is the present one."""
    status = dict_at(daemon_set, "status")
    ready = min(int(status.get("numberReady") or 0), int(status.get("updatedNumberScheduled") or 0))
    return int(status.get("desiredNumberScheduled") or 0), ready


def are_pending(observation: Observation) -> bool:
    """Whether nodes that Kubernetes has counted are not configured yet, so that it is worth asking their agents why."""
    if isinstance(observation.inputs, MissingInput) or observation.inputs.masquerade_holder is not None:
        return False
    current = observation.daemon_set
    if current is None or foreign(observation, nodes=True) or is_behind(current):
        return False
    desired, ready = node_counts(current)
    return ready < desired
