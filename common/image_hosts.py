"""List the hosts in image names that mean one registry to a container runtime."""

from __future__ import annotations

from typing import Final

DOCKER_HUB: Final = "registry-1.docker.io"
DOCKER_HUB_IMAGES: Final = "docker.io"
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
# Hosts that serve Docker Hub's registry API, so that image names may start with them.
DOCKER_HUB_HOSTS: Final = (DOCKER_HUB, "index.docker.io", "registry.hub.docker.com")


def spellings(image_host: str, scheme: str) -> tuple[str, ...]:
    """Return every `host[:port]` in image names that a runtime takes for the registry of `image_host`, it first.

    A runtime looks for settings under the spelling of the image name: `host` and `host:443` have two folders.
    """
    hosts = [image_host, *(DOCKER_HUB_HOSTS if image_host == DOCKER_HUB_IMAGES else ())]
    # Nothing serves the registry API at docker.io:443.
    served = [host for host in hosts if host != DOCKER_HUB_IMAGES and not _has_port(host)]
    return (*hosts, *(f"{host}:{DEFAULT_PORTS[scheme]}" for host in served))


def host_name(image_host: str) -> str:
    """Return the host of `host[:port]`."""
    return image_host.rpartition(":")[0] if _has_port(image_host) else image_host


def _has_port(host: str) -> bool:
    """Return True for `host:port`. An IPv6 address without a port ends with a bracket."""
    return ":" in host and host.rpartition(":")[2].isdecimal()
