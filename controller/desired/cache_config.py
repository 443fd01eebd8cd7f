"""Build the configuration file of the cache pods. All pods of a mirror share it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from common import cache_protocol, names
from controller.objects.well_known import BUNDLE_FILE, CA, CERTIFICATE, KEY, credentials_keys

if TYPE_CHECKING:
    from common.types import Json
    from common.upstream import Upstream
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings

# The whole Secret of the mirror: the configuration, the accounts and the mirrors' CA.
CONFIGURATION_DIRECTORY: Final = "/etc/registry-mirror"
CERTIFICATE_DIRECTORY: Final = "/etc/registry-mirror-tls"
BUNDLE_DIRECTORY: Final = "/etc/registry-mirror-ca"
DATA_DIRECTORY: Final = "/var/lib/registry-mirror"
# Part of the volume that eviction keeps free for pulls in progress.
MIN_FREE: Final = "10%"


def cache_config(mirror: Mirror, settings: ControllerSettings) -> str:
    """Return the configuration file as JSON."""
    document = {
        "listen": f":{cache_protocol.PORT}",
        "statusListen": f":{cache_protocol.STATUS_PORT}",
        "tls": {
            "certificate": f"{CERTIFICATE_DIRECTORY}/{CERTIFICATE}",
            "key": f"{CERTIFICATE_DIRECTORY}/{KEY}",
        },
        "root": DATA_DIRECTORY,
        "ttl": mirror.spec.ttl,
        "minFree": MIN_FREE,
        # Some volumes are directories, which enforce no size.
        "maxSize": mirror.storage,
        "countRepositories": settings.count_repositories,
        "upstreams": [_upstream(each.upstream) for each in mirror.sources],
        "caBundle": f"{BUNDLE_DIRECTORY}/{BUNDLE_FILE}" if settings.ca_certificate_bundle else None,
        "peers": _peers(mirror, settings) if mirror.spec.replicas > 1 else None,
    }
    return json.dumps(document, indent=2) + "\n"


def _upstream(upstream: Upstream) -> Json:
    """Return an upstream. The files of its account are absent while it has none."""
    username, password = (f"{CONFIGURATION_DIRECTORY}/{key}" for key in credentials_keys(upstream.directory))
    return {
        "host": upstream.image_host,
        "url": upstream.url,
        "credentials": {"username": username, "password": password},
    }


def _peers(mirror: Mirror, settings: ControllerSettings) -> Json:
    """Return the replicas by pod name. Each pod finds its own name as its host name."""
    domain = f"{names.headless_name(mirror.name)}.{settings.namespace}.svc"
    pods = [f"{mirror.object_name}-{ordinal}" for ordinal in range(mirror.spec.replicas)]
    return {
        "members": {pod: f"https://{pod}.{domain}:{cache_protocol.PORT}" for pod in pods},
        "ca": f"{CONFIGURATION_DIRECTORY}/{CA}",
        # A certificate from DOCKER_CERTIFICATE_SECRET names no pods.
        "serverName": mirror.masquerade,
    }
