"""containerd's configuration, which a person wrote: read, or found to hinder; and never the end of the agent.

The first line is the runtime as the kubelet tells it; configuration files follow, with zero bytes between.
"""

from __future__ import annotations

from common.agent_protocol import RUNTIME_IGNORES_CERTS, RUNTIME_USES_MIRRORS
from hostess.containerd import config_path
from hostess.containerd.config_path import Reading
from hostess.node_state import NodeConfigError
from tests.fuzz.lines import text_of

FOLDER = "/etc/containerd/certs.d"


def one(data: bytes) -> None:
    """One node's configuration."""
    told, _, rest = data.partition(b"\n")
    files = rest.split(b"\0")
    version = config_path.parse_version(text_of(told))
    for file in files:
        assert all(isinstance(pattern, str) for pattern in config_path.imports(file))
    try:
        found = config_path.reading(files, version, FOLDER)
    except NodeConfigError as hindrance:
        assert hindrance.reason in (RUNTIME_USES_MIRRORS, RUNTIME_IGNORES_CERTS)
        assert hindrance.message.endswith(".")
        return
    assert found == Reading() or FOLDER in str(found.literal).replace("/:", ":").rstrip("/").split(":")
