"""What the controller and its agents on the nodes say to each other."""

from __future__ import annotations

from enum import Enum
from typing import Final

from common import names

# On the Service of a mirror, with the UID of the mirror: its agents are to take it off their nodes.
CLEANING_ANNOTATION: Final = f"{names.GROUP}/cleaning"
# Where an agent says how it stands with its node: to the kubelet by the code, to the controller by the body.
STATUS_PORT: Final = 8081
STATUS_PATH: Final = "/readyz"
ALIVE_PATH: Final = "/livez"  # for the kubelet alone: whether the agent still looks at its node at all
# An agent's reason for being given a new pod: the node has other files than those that are mounted into the one it has.
# Not by a restart within its pod: for that the runtime makes a directory where no hosts file is, as in the middle of an
# edit by hand, and the node has none any more. A new pod waits for a file.
REPLACED: Final = "NodeFilesReplaced"
# containerd refuses to start with config_path beside these older settings.
RUNTIME_USES_MIRRORS: Final = "RuntimeUsesMirrors"


class State(Enum):
    """How far a node is. CONFIGURED alone is ready."""

    PENDING = "pending"
    CONFIGURED = "configured"
    BLOCKED = "blocked"  # something on the node, or on the way to the mirror, has to be mended by a person
    CLEANED = "cleaned"  # the mirror is being deleted, and nothing of it is on the node any more
