"""Fuzz containerd's configuration: the agent reads it or reports a NodeConfigError, and never crashes.

The first line of the input is the runtime version as the kubelet reports it. Configuration files follow, separated by
zero bytes.
"""

from __future__ import annotations

import re

from common.agent_protocol import RUNTIME_IGNORES_CERTS, RUNTIME_USES_MIRRORS
from hostess.containerd import config_path, registry_tables
from hostess.containerd.runtime import parse_version
from hostess.node_state import NodeConfigError
from tests.fuzz.lines import text_of

FOLDER = "/etc/containerd/certs.d"
# The folder in a list of roots, each with any number of slashes at its end.
LISTED = re.compile(rf"(^|:){re.escape(FOLDER)}/*(:|$)")


def one(data: bytes) -> None:
    """Check one node's configuration."""
    reported, _, rest = data.partition(b"\n")
    files = tuple(rest.split(b"\0"))
    version = parse_version(text_of(reported))
    for file in files:
        assert all(isinstance(pattern, str) for pattern in registry_tables.imports(file))
    try:
        found = config_path.reading(files, (), version, FOLDER)
    except NodeConfigError as error:
        assert error.reason in (RUNTIME_USES_MIRRORS, RUNTIME_IGNORES_CERTS)
        assert error.message.endswith(".")
        return
    assert found.doubt or version.version is not None
    assert found.literal is None or LISTED.search(found.literal)
