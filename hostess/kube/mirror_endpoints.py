"""Read the mirror's addresses and pods from its Service and EndpointSlices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from common.agent_protocol import CLEANING_ANNOTATION, REGISTRIES_ANNOTATION
from hostess import registries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from common.types import Json
    from hostess.registries import Registry


class Endpoint(NamedTuple):
    """Address and port of one cache pod."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class MirrorEndpoints:
    """State of the mirror in the cluster.

    `addresses` are the Service's cluster IPs. `endpoints` are the ready cache pods; None until the watch saw them.
    `removed` is True if the Service is deleted or terminating. `registries` are None if the Service does not name them.
    """

    addresses: tuple[str, ...] = ()
    cleaning: bool = False
    endpoints: tuple[Endpoint, ...] | None = None
    removed: bool = False
    registries: tuple[Registry, ...] | None = None


def parse_endpoints(services: Iterable[Json], slices: Iterable[Json] | None) -> MirrorEndpoints:
    """Parse the Services of the mirror's name (one or none) and its slices (None: not seen yet)."""
    service = next(iter(services), {})
    metadata = service.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    removed = not service or bool(metadata.get("deletionTimestamp"))
    spec = service.get("spec") or {}
    # A headless Service has "None" instead of an address.
    addresses = tuple(address for address in spec.get("clusterIPs") or () if address and address != "None")
    # Dual-stack pods have slices of both families; the agent probes the family of the first address.
    family = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
    ready = (each for obj in slices or () if obj.get("addressType") == family for each in _ready(obj))
    endpoints = None if slices is None else tuple(sorted(set(ready)))
    found = registries.parse(annotations.get(REGISTRIES_ANNOTATION))
    return MirrorEndpoints(addresses, bool(annotations.get(CLEANING_ANNOTATION)), endpoints, removed, found)


def _ready(endpoint_slice: Json) -> Iterator[Endpoint]:
    """Yield the ready endpoints of a slice. A missing condition means ready; a terminating pod is not ready."""
    ports = [port["port"] for port in endpoint_slice.get("ports") or () if port.get("port")]
    for endpoint in endpoint_slice.get("endpoints") or ():
        if ports and endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False:
            yield Endpoint(endpoint["addresses"][0], ports[0])
