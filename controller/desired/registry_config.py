"""Build the files that a cache pod reads.

The registry is configured by a file. It parses environment variables as YAML, so that a password such as `#hash`
would be lost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from common import duration
from controller.desired import entrypoint
from controller.objects.well_known import CERTIFICATE, CONFIGURATION, CREDENTIALS, HELPER, KEY

if TYPE_CHECKING:
    from controller.model.mirror import Mirror


CONFIGURATION_DIRECTORY: Final = "/etc/registry-mirror"
CERTIFICATE_DIRECTORY: Final = "/etc/registry-mirror-tls"
DATA_DIRECTORY: Final = "/var/lib/registry"
MARKS_DIRECTORY: Final = "/run/registry-mirror"
DEBUG_PORT: Final = 5001

# Seconds for pulls in progress when a pod stops; the rest of its 30 s is for saving the state. Without it the
# registry exits at once, unsaved, and blobs never expire.
DRAIN: Final = 25
# Time for which the registry caches credentials. A kubelet takes up to two minutes to update a mounted Secret.
CREDENTIALS_LIFETIME: Final = "60s"


def configuration(mirror: Mirror) -> str:
    """Return the configuration file. JSON is YAML, and quotes all values."""
    document = {
        "version": "0.1",
        # At info, every request is logged, even with accesslog disabled.
        "log": {"level": "warn", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            # A folder per upstream, so that a changed mirror does not serve content of the former
            # upstream.
            "filesystem": {"rootdirectory": f"{DATA_DIRECTORY}/{mirror.upstream.directory}"},
            # Without it, expired blobs are forgotten but stay on the disk.
            "delete": {"enabled": True},
        },
        "http": {
            "addr": ":5000",
            "draintimeout": f"{DRAIN}s",
            "tls": {
                "certificate": f"{CERTIFICATE_DIRECTORY}/{CERTIFICATE}",
                "key": f"{CERTIFICATE_DIRECTORY}/{KEY}",
                "minimumtls": "tls1.2",
            },
            "debug": {"addr": f":{DEBUG_PORT}", "prometheus": {"enabled": True, "path": "/metrics"}},
        },
        # While the file exists every request is answered 503: the volume is nearly full (entrypoint.py).
        "health": {"file": [{"file": f"{MARKS_DIRECTORY}/full", "interval": "1s"}]},
        "proxy": {
            "remoteurl": mirror.upstream.url,
            "ttl": mirror.spec.ttl,
            # Set even without credentials: with it the registry starts while its upstream is down.
            "exec": {"command": f"{CONFIGURATION_DIRECTORY}/{HELPER}", "lifetime": CREDENTIALS_LIFETIME},
        },
    }
    return json.dumps(document, indent=2) + "\n"


def helper() -> str:
    """Return the credential helper, which prints the mounted file. The file follows the Secret."""
    return f"#!/bin/sh\nexec cat {CONFIGURATION_DIRECTORY}/{CREDENTIALS}\n"


def start_script(mirror: Mirror) -> str:
    """Return the start script, which prepares the volume, then executes the registry."""
    return entrypoint.script(
        data=DATA_DIRECTORY,
        present=mirror.upstream.directory,
        ttl=duration.parse(mirror.spec.ttl),
        marks=MARKS_DIRECTORY,
        configuration=f"{CONFIGURATION_DIRECTORY}/{CONFIGURATION}",
    )
