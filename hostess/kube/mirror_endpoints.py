"""What the cluster says of the mirror, from its Service and EndpointSlices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from common.agent_protocol import CLEANING_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from common.types import Json


class Endpoint(NamedTuple):
    """Where one cache pod answers."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class MirrorEndpoints:
    """State of the mirror in the cluster.

    `addresses` are the Service's cluster IPs; `endpoints` the ready cache pods, None until they were seen.
    `removed` is True if the Service is deleted or terminating.
    """

    addresses: tuple[str, ...] = ()
    cleaning: bool = False
    endpoints: tuple[Endpoint, ...] | None = None
    removed: bool = False


def view_of(services: Iterable[Json], slices: Iterable[Json] | None) -> MirrorEndpoints:
    """The view from all Services of the mirror's name (one or none), and its slices (None: not seen yet)."""
    service = next(iter(services), {})
    metadata = service.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    removed = not service or bool(metadata.get("deletionTimestamp"))
    spec = service.get("spec") or {}
    # A headless Service says "None" where others have an address.
    addresses = tuple(address for address in spec.get("clusterIPs") or () if address and address != "None")
    # Of both families, where there are both, that of the address which the agent asks at: each pod is there once.
    kind = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
    ready = (each for one in slices or () if one.get("addressType") == kind for each in _ready(one))
    endpoints = None if slices is None else tuple(sorted(set(ready)))
    return MirrorEndpoints(addresses, bool(annotations.get(CLEANING_ANNOTATION)), endpoints, removed)


def _ready(one: Json) -> Iterator[Endpoint]:
    """Ready endpoints of a slice. One that does not say is ready, by the API's definition.

    One that is about to end is not ready: nothing is held against a pod that a rollout takes away.
    """
    ports = [port["port"] for port in one.get("ports") or () if port.get("port")]
    for endpoint in one.get("endpoints") or ():
        if ports and endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False:
            yield Endpoint(endpoint["addresses"][0], ports[0])
