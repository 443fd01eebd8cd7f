"""The files that a cache pod reads: their names, places and contents.

The configuration is one file and never environment variables: the registry parses those as YAML, so that a
password such as `#hash` turns into none, in silence.
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

# Seconds that pulls in progress get when a pod stops: most of its 30 s, the rest is for saving the cache's state.
# Without it the registry dies at once, unsaved, and blobs never expire.
DRAIN: Final = 25
# How long the registry keeps credentials before it asks the helper again. The kubelet takes up to a minute or two to
# bring a changed Secret into the pod; this adds little to that, and a helper process a minute is nothing.
CREDENTIALS_LIFETIME: Final = "60s"


def configuration(mirror: Mirror) -> str:
    """The registry's configuration file. JSON is YAML, and no value can break out of its place in it."""
    document = {
        "version": "0.1",
        # "response completed" of every request is logged at info, whatever accesslog says.
        "log": {"level": "warn", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            # A folder for each upstream: a mirror turned to another one must not serve what the first one gave.
            "filesystem": {"rootdirectory": f"{DATA_DIRECTORY}/{mirror.upstream.directory}"},
            # Without it expired blobs are dropped from the books and stay on the disk.
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
        # While the file is there every request is answered 503: the volume is nearly full (entrypoint.py).
        "health": {"file": [{"file": f"{MARKS_DIRECTORY}/full", "interval": "1s"}]},
        "proxy": {
            "remoteurl": mirror.upstream.url,
            "ttl": mirror.spec.ttl,
            # Always, also without credentials: with it the registry starts while its upstream is down.
            "exec": {"command": f"{CONFIGURATION_DIRECTORY}/{HELPER}", "lifetime": CREDENTIALS_LIFETIME},
        },
    }
    return json.dumps(document, indent=2) + "\n"


def helper() -> str:
    """The program that the registry asks for credentials: prints the mounted file, which follows the Secret."""
    return f"#!/bin/sh\nexec cat {CONFIGURATION_DIRECTORY}/{CREDENTIALS}\n"


def start_script(mirror: Mirror) -> str:
    """What the container begins with: it readies the volume for this upstream, then becomes the registry."""
    return entrypoint.script(
        data=DATA_DIRECTORY,
        present=mirror.upstream.directory,
        ttl=duration.parse(mirror.spec.ttl),
        marks=MARKS_DIRECTORY,
        configuration=f"{CONFIGURATION_DIRECTORY}/{CONFIGURATION}",
    )
