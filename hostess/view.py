"""What the cluster says of the mirror, from its Service and EndpointSlices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.agent import CLEANING_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """`addresses` are the Service's cluster IPs, none where it is gone; `endpoints` the cache pods that are ready.

    `endpoints` is None until they were seen.
    """

    addresses: tuple[str, ...] = ()
    cleaning: bool = False
    endpoints: int | None = None


def view_of(services: Iterable[Json], slices: Iterable[Json] | None) -> View:
    """The view from all Services of the mirror's name (one or none), and its slices (None: not seen yet)."""
    service = next(iter(services), {})
    annotations = (service.get("metadata") or {}).get("annotations") or {}
    spec = service.get("spec") or {}
    # A headless Service says "None" where others have an address.
    addresses = tuple(address for address in spec.get("clusterIPs") or () if address and address != "None")
    endpoints = None if slices is None else sum(map(_ready, slices))
    return View(addresses, bool(annotations.get(CLEANING_ANNOTATION)), endpoints)


def _ready(one: Json) -> int:
    """Ready endpoints of a slice. One that does not say is ready, by the API's definition."""
    conditions = [endpoint.get("conditions") or {} for endpoint in one.get("endpoints") or ()]
    return sum(condition.get("ready") is not False for condition in conditions)
