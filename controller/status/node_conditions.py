"""Compute NodesConfigured from the DaemonSet and the answers of its agents. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from common import agent_protocol
from common.defaults import dict_at
from controller.desired.daemon_set import runs_original
from controller.model.condition import NODES_CONFIGURED, Condition
from controller.model.inputs import MissingInput
from controller.nodes import agent_status
from controller.objects.rollout import is_unobserved
from controller.status import reasons
from controller.status.conditions import describe, foreign_objects, pulls

if TYPE_CHECKING:
    from collections.abc import Collection

    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.model.observation import Agent, Observation


NAMED_MAX: Final = 10  # nodes without an agent that a message names


def nodes_configured(mirror: Mirror, observation: Observation, holder: str | None, *, serving: bool) -> Condition:
    """Return NodesConfigured. `holder` is the mirror that holds the host name; `serving`: a cache pod serves."""
    if holder is not None:
        return reasons.MASQUERADE_CONFLICT.condition(_conflict(mirror, holder, observation.inputs))
    if foreign := foreign_objects(observation, nodes=True):
        return reasons.AGENT_OBJECT_NOT_OWNED.condition(foreign)
    if observation.daemon_set is None:
        return reasons.NODES_PENDING.condition("The DaemonSet does not exist yet.")
    return _counted(mirror, observation.daemon_set, observation, serving=serving)


def _conflict(mirror: Mirror, holder: str, inputs: Inputs | MissingInput) -> str:
    """Return the message about the mirror that holds the host name."""
    if not isinstance(inputs, MissingInput) and inputs.hides_registry:
        return (
            f"RegistryMirror {holder} mirrors a registry at {mirror.masquerade}, which nodes must reach by that name."
            " Set a spec.masqueradeUrl that no registry has."
        )
    return (
        f"RegistryMirror {holder} is older and has the same masqueradeUrl, {mirror.masquerade}."
        f" Set another spec.masqueradeUrl, or delete {holder}."
    )


def cleaning(message: str) -> Condition:
    """Return NodesConfigured of a mirror that is being deleted."""
    return reasons.NODES_CLEANING.condition(message)


def _counted(mirror: Mirror, daemon_set: Json, observation: Observation, *, serving: bool) -> Condition:
    desired, ready = node_counts(daemon_set)
    if is_unobserved(daemon_set):
        return reasons.NODES_NOT_COUNTED.condition("The DaemonSet changed. Kubernetes has not counted its nodes yet.")
    if desired == 0:
        return reasons.NO_NODES.condition("No node matches the agent's node selector. Check HOSTESS_NODE_SELECTOR.")
    if ready < schedulable(desired, observation):
        return _pending(mirror, observation, serving=serving)
    return _configured(mirror, observation, serving=serving)


def _configured(mirror: Mirror, observation: Observation, *, serving: bool) -> Condition:
    """Return the condition while all agents that are scheduled are ready."""
    desired, ready = node_counts(observation.daemon_set)
    desired, without = schedulable(desired, observation), _without_agent(observation)
    if desired == 0:
        return reasons.NO_AGENT_SCHEDULED.condition(without)
    if runs_original(observation.daemon_set or {}):
        return reasons.ORIGINAL_AGENT.condition(_original(mirror, f"{ready} of {desired}", without, serving=serving))
    if not serving:
        message = f"No cache pod serves the upstream. {pulls(mirror, observation)} {without}"
        return reasons.NODES_USE_UPSTREAM.condition(message.rstrip())
    message = f"{ready} of {desired} nodes use the mirror.{_images_elsewhere(mirror, observation.inputs)}"
    if without:
        return reasons.AGENTS_UNSCHEDULABLE.condition(f"{message} {without}")
    return reasons.ALL_NODES_READY.condition(message)


def _original(mirror: Mirror, count: str, without: str, *, serving: bool) -> str:
    host = mirror.upstream.image_host
    state = "" if serving else " No cache pod serves the upstream, so such pulls fail."
    return (
        f"{count} nodes have the hosts entry of the original mirror-hostess. Images named {mirror.masquerade}/... use"
        f" the mirror. Images of {host} do not, since that agent writes no hosts.toml.{state} {without}"
    ).rstrip()


def _pending(mirror: Mirror, observation: Observation, *, serving: bool) -> Condition:
    """Return the condition while agents are not ready. The advice comes first: a long message is cut at its end."""
    desired, ready = node_counts(observation.daemon_set)
    agents, count = observation.agents, f"{ready} of {schedulable(desired, observation)} nodes"
    reason = reason_of(agents)
    is_unknown = reason in reasons.UNVERIFIED
    others = "It is not known if the others do." if is_unknown else "The others pull from the upstream."
    state = (
        f"{count} use the mirror. {others}"
        if serving
        else f"{count} are configured. No cache pod serves the upstream. {pulls(mirror, observation)}"
    )
    uses_mirrors = any(agent.reason == agent_protocol.RUNTIME_USES_MIRRORS for agent in agents)
    advice = [reasons.RUNTIME_USES_MIRRORS.action] if uses_mirrors else []
    # A pod that has not started, or whose node is down, cannot answer: its fault is the cause.
    answering = [each for each in agents if not observation.agent_fault or each.message != agent_status.SILENT]
    found = (observation.dialer_fault, agent_status.sentences(answering), observation.agent_fault)
    said = [each for each in found if each]
    answers = " ".join(said) or describe(mirror, "daemonset,pod")
    without = _without_agent(observation)
    message = " ".join([state, *advice, answers, *([without] if without else [])])
    return Condition(NODES_CONFIGURED, "Unknown" if is_unknown else "False", reason, message)


def _without_agent(observation: Observation) -> str:
    """Return sentences about the nodes whose agent cannot be scheduled; empty if there are none."""
    agents = sorted(observation.unschedulable, key=lambda agent: agent.node)
    if not agents:
        return ""
    count = f"{len(agents)} nodes have" if len(agents) > 1 else "1 node has"
    listed = agent_status.listed((agent.node for agent in agents), NAMED_MAX)
    found = f"{count} no agent, because the scheduler finds no room for it: {listed} ({agents[0].unschedulable})."
    if observation.lost:
        lost = agent_status.listed(observation.lost)
        return f"{found} What an earlier agent configured stays on {lost}: make room for the agent there."
    return found


def reason_of(agents: Collection[Agent]) -> str:
    """Return the reason of all blocked agents if they agree, or why no agent can tell if its node uses the mirror."""
    found = {agent.reason for agent in agents if agent.state == agent_status.BLOCKED}
    if not found and agents and all(agent.state == agent_status.UNVERIFIED for agent in agents):
        doubts = {agent.reason for agent in agents} & reasons.UNVERIFIED
        return doubts.pop() if len(doubts) == 1 else reasons.RUNTIME_NOT_VERIFIED.name
    if not found:
        return reasons.NODES_PENDING.name
    (first, *others) = found
    return first if first and not others else reasons.NODES_BLOCKED.name


def _images_elsewhere(mirror: Mirror, inputs: Inputs | MissingInput) -> str:
    """Return sentences about older mirrors with upstreams of this one; empty if there are none."""
    holders = {} if isinstance(inputs, MissingInput) else inputs.images_holders
    if not holders:
        return ""
    by_holder: defaultdict[str, list[str]] = defaultdict(list)
    for host, holder in holders.items():
        by_holder[holder].append(host)
    elsewhere = [
        f" Images of {', '.join(hosts)} come through RegistryMirror {holder}, which is older."
        for holder, hosts in by_holder.items()
    ]
    return (
        f"{''.join(elsewhere)} This mirror serves {mirror.masquerade}/... and takes over if"
        f" {' or '.join(by_holder)} is deleted."
    )


def node_counts(daemon_set: Json | None) -> tuple[int, int]:
    """Return (desired, ready) nodes. Only pods of the current template count as ready."""
    status = dict_at(daemon_set, "status")
    ready = min(int(status.get("numberReady") or 0), int(status.get("updatedNumberScheduled") or 0))
    return int(status.get("desiredNumberScheduled") or 0), ready


def schedulable(desired: int, observation: Observation) -> int:
    """Return the number of nodes that can run an agent, of `desired` nodes."""
    return max(0, desired - len(observation.unschedulable))


def are_counted(observation: Observation) -> bool:
    """Return True if the mirror has agents, and Kubernetes has counted their nodes."""
    if isinstance(observation.inputs, MissingInput) or observation.inputs.masquerade_holder is not None:
        return False
    current = observation.daemon_set
    return current is not None and not foreign_objects(observation, nodes=True) and not is_unobserved(current)


def are_pending(observation: Observation) -> bool:
    """Return True if Kubernetes has counted the nodes and some are not ready. Their agents then know why."""
    desired, ready = node_counts(observation.daemon_set)
    return are_counted(observation) and ready < schedulable(desired, observation)


def are_silent(observation: Observation) -> bool:
    """Return True if nodes are not ready, and not all of their agents say why."""
    said = [each.message not in ("", agent_status.SILENT) for each in observation.agents]
    return are_pending(observation) and not (said and all(said))


def lack_dialers(observation: Observation) -> bool:
    """Return True if agents report that no dialer runs on their node."""
    reported = {each.reason for each in observation.agents}
    return are_pending(observation) and agent_protocol.NODE_NETWORK_NOT_PROBED in reported
