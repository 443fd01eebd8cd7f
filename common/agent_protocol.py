"""Define the protocol between the controller and the node agents."""

from __future__ import annotations

from enum import Enum
from pathlib import PurePosixPath
from typing import Final

from common import names

# Annotation of the mirror's Service. Its value is the UID of a deleted mirror that the agents remove from their nodes.
CLEANING_ANNOTATION: Final = f"{names.GROUP}/cleaning"
# Annotation of the mirror's Service. Its value is a JSON list of the registries that the nodes pull through the mirror:
# `host` of image names (empty if an older mirror has it) and `url` of the upstream. The first is spec.upstreamUrl.
REGISTRIES_ANNOTATION: Final = f"{names.GROUP}/registries"
# The kubelet reads the status code, the controller reads the body.
STATUS_PORT: Final = 8081
STATUS_PATH: Final = "/readyz"
# Header of a probe from the node's own network. The cache learns the node of an address from it.
NODE_HEADER: Final = "X-Registry-Mirror-Node"
# Variable of agents and dialers: the Unix socket over which the dialer of a node serves the agents.
DIALER_SOCKET: Final = "DIALER_SOCKET"
STARTS: Final = "containerd"  # request for the last start of containerd
# The agent mounts the parent of containerd's folder, which must not be / or a folder such as /etc.
_CERTS_DIR_PARENTS_MIN: Final = 3
# Paths where the agent mounts other things. The API server refuses two mounts at one path, and the certificate and the
# token of the agent are read-only.
AGENT_MOUNTS: Final = (
    "/etc/containers",
    "/etc/hosts.backup",
    "/etc/hosts_from_host",
    "/etc/registry-mirror",
    "/var/lock/hostess",
    "/var/run/secrets/kubernetes.io/serviceaccount",
)
ALIVE_PATH: Final = "/livez"  # for the kubelet: 200 while the agent's loop runs
METRICS_PATH: Final = "/metrics"
# Reason for a new agent pod: the mounted files are no longer the node's. A container restart is unsafe, because the
# runtime creates a directory if the hosts file is missing at that moment. A new pod waits for the file.
REPLACED: Final = "NodeFilesReplaced"
# Reasons of an agent for a node that an administrator has to repair. They become reasons of NodesConfigured.
AGENT_STUCK: Final = "AgentStuck"
EXISTING_HOSTS_ENTRY: Final = "ExistingHostsEntry"
EXISTING_HOSTS_TOML: Final = "ExistingHostsToml"
EXISTING_REGISTRIES_CONF: Final = "ExistingRegistriesConf"
HOSTS_FILE_UNWRITABLE: Final = "HostsFileUnwritable"
MIRROR_UNREACHABLE: Final = "MirrorUnreachable"
NODE_NETWORK_NOT_PROBED: Final = "NodeNetworkNotProbed"
NODE_FILES_UNWRITABLE: Final = "NodeFilesUnwritable"
RESERVED_NAME: Final = "ReservedName"
RUNTIME_NOT_VERIFIED: Final = "RuntimeNotVerified"
RUNTIME_IGNORES_CERTS: Final = "RuntimeIgnoresCerts"
# containerd refuses to start with config_path beside these older settings.
RUNTIME_USES_MIRRORS: Final = "RuntimeUsesMirrors"


class State(Enum):
    """Name the states of a node. Only CONFIGURED counts as ready."""

    PENDING = "pending"
    CONFIGURED = "configured"
    BLOCKED = "blocked"  # an administrator must fix the node or its path to the mirror
    UNVERIFIED = "unverified"  # all files are written, and the agent cannot tell whether the runtime reads them
    CLEANED = "cleaned"  # the mirror is being deleted, and the node has no trace of it


def certs_dir_mistake(folder: str) -> str:
    """Return what is wrong with a value of CONTAINERD_CERTS_DIR; empty if the controller takes it."""
    path = PurePosixPath(folder)
    is_clean = folder.isprintable() and folder == folder.strip() == str(path) and ".." not in path.parts
    if not is_clean or not path.is_absolute() or folder.startswith("//") or ":" in folder:
        return "expected the absolute path of one folder, without . or .., a colon or a second slash"
    if len(path.parents) < _CERTS_DIR_PARENTS_MIN:
        return (
            "expected a folder at least three levels deep, such as /etc/containerd/certs.d: the agent mounts the folder"
            " above it, which must not be / or a folder such as /etc"
        )
    if any(path.is_relative_to(each) for each in AGENT_MOUNTS):
        return f"expected a folder outside of {', '.join(AGENT_MOUNTS)}: the agent mounts other things there"
    return ""
