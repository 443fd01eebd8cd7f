"""Define the figures of a run, and the median of several rounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

# The servers.
CACHE: Final = "cache"
DISTRIBUTION: Final = "distribution"
OPENSSL: Final = "openssl"
# The stored content that clients ask for.
LARGE: Final = "large"  # a blob of 60 MB
SMALL: Final = "small"  # blobs of 50 kB
TAG: Final = "tag"  # a manifest by its tag, for which the upstream is asked


@dataclass(frozen=True, slots=True)
class Herd:
    """Clients that pull one image at the same moment from empty caches.

    `seconds` and `first_byte` are those of the slowest client. The upstream sent `sent_ratio` times the image. Memory
    is that of the largest replica.
    """

    engine: str
    clients: int
    replicas: int
    megabytes: float
    seconds: float
    first_byte: float
    sent_ratio: float
    most_per_blob: float
    most_per_manifest: float
    upstream_requests: float
    cpu_per_gb: float
    idle_mib: float
    peak_mib: float
    upstream_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Clients that ask for stored content in a loop."""

    engine: str
    scene: str
    clients: int
    requests_per_second: float
    megabytes_per_second: float
    cpu_per_gb: float
    cpu_milliseconds: float  # per request


@dataclass(frozen=True, slots=True)
class SmallImages:
    """Clients that share many small images: first from an empty cache, then from a full one."""

    engine: str
    images: int
    cold_seconds: float
    warm_seconds: float
    cold_cpu_seconds: float
    warm_cpu_seconds: float
    upstream_requests: float


Figure = TypeVar("Figure", Herd, Rate, SmallImages)


@dataclass(frozen=True, slots=True)
class Run:
    """All figures of all rounds, and the load of the machine before the run."""

    load_before: float
    herds: list[Herd]
    rates: list[Rate]
    small: list[SmallImages]

    def herd(self, engine: str, clients: int, replicas: int) -> Herd | None:
        """Return the typical herd; None if there was none."""
        return typical(self.herds, engine=engine, clients=clients, replicas=replicas)

    def rate(self, engine: str, scene: str, clients: int) -> Rate | None:
        """Return the typical rate; None if there was none."""
        return typical(self.rates, engine=engine, scene=scene, clients=clients)

    def small_images(self, engine: str) -> SmallImages | None:
        """Return the typical figures of the small images; None if there are none."""
        return typical(self.small, engine=engine)


def typical(figures: Iterable[Figure], **keys: Any) -> Figure | None:
    """Return the median of each figure over the rounds with these keys; None without any."""
    rounds = [each for each in figures if all(getattr(each, name) == value for name, value in keys.items())]
    if not rounds:
        return None
    names = [each.name for each in fields(rounds[0]) if each.type == "float"]
    return replace(rounds[0], **{name: median(getattr(each, name) for each in rounds) for name in names})
