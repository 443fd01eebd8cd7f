"""Define the state that the agent reports of its node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.agent_protocol import AGENT_STUCK, NODE_NETWORK_NOT_PROBED, REPLACED, RUNTIME_NOT_VERIFIED, State

# Seconds after which a loop that has not finished a round counts as stuck. A round takes 34 s at most: a slow Service
# (7), slow pods (10, and 7 for the last), twice the lock (5). A slow disk may need more.
STUCK_AFTER: Final = 60.0


@dataclass(frozen=True, slots=True)
class NodeState:
    """`reason` is in CamelCase, as in conditions; `message` is for the administrator."""

    state: State
    reason: str
    message: str


class NodeConfigError(Exception):
    """A problem on the node that the administrator must fix."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


STARTING: Final = NodeState(State.PENDING, "Starting", "The agent has just started.")
SERVICE_GONE: Final = NodeState(State.PENDING, "ServiceGone", "The mirror's Service is gone; the node stays as it is.")
STUCK: Final = NodeState(
    State.BLOCKED,
    AGENT_STUCK,
    f"The agent has not checked its node for {STUCK_AFTER:.0f} s. A file system of the node may hang. The kubelet"
    " restarts the agent.",
)
FILES_REPLACED: Final = NodeState(
    State.PENDING,
    REPLACED,
    "/etc/hosts or a folder of the agent was replaced on the node. The agent gets a new pod.",
)
CLEANED: Final = NodeState(State.CLEANED, "Cleaned", "The mirror is being deleted; nothing of it is left on this node.")
MIRROR_UNKNOWN: Final = NodeState(
    State.PENDING, "MirrorUnknown", "The mirror's Service has not been seen yet; the node stays as it is."
)
CA_UNKNOWN: Final = NodeState(
    State.PENDING, "MirrorUnknown", "The mirror's CA has not been seen yet. Pulls go to the upstream until then."
)
RUNTIME_UNKNOWN: Final = NodeState(State.PENDING, "RuntimeUnknown", "The node's runtime has not been read yet.")
NAME_MISSING: Final = NodeState(
    State.PENDING, "HostsEntryMissing", "The original agent has not written the hosts entry yet. See its log."
)
NAME_IS_NEW: Final = NodeState(
    State.PENDING, "NameIsNew", "The runtime reads the changed hosts file within five seconds."
)


REGISTRIES_UNKNOWN: Final = NodeState(
    State.PENDING, "MirrorUnknown", "The mirror's upstreams have not been seen yet; their hosts.toml files stay."
)


def configured(image_hosts: str, doubt: str, network_doubt: str) -> NodeState:
    """Return the state of a node with all files.

    `doubt` is a sentence if the runtime may not read them, `network_doubt` if the node may not reach the mirror.
    """
    if doubt:
        message = f"All files are written. It is not known if the runtime reads them: {doubt}"
        return NodeState(State.UNVERIFIED, RUNTIME_NOT_VERIFIED, message)
    if network_doubt:
        return NodeState(State.UNVERIFIED, NODE_NETWORK_NOT_PROBED, network_doubt)
    images = f"images of {image_hosts}" if image_hosts else "only images with the mirror's own name"
    return NodeState(State.CONFIGURED, "Configured", f"This node pulls {images} through the mirror.")
