"""Define the addresses of a cluster: IPv4, IPv6 or both, with one family first."""

from collections.abc import Mapping
from dataclasses import dataclass

IPV4, IPV6 = "ipv4", "ipv6"
# Addresses of documentation (RFC 3849). Local ones (fd00::/8) would rank below IPv4, so that nothing used IPv6.
PREFIX = "2001:db8"
SERVICE_RANGE = {IPV4: "10.96.0.0/16", IPV6: f"{PREFIX}:96::/112"}  # 65534 Services; kubeadm has /12
API_SERVER = {IPV4: "10.96.0.1", IPV6: f"{PREFIX}:96::1"}  # always the first address of the range
DNS = {IPV4: "10.96.0.10", IPV6: f"{PREFIX}:96::a"}  # the Service of CoreDNS, as with kubeadm
POD_RANGE = {IPV4: "10.244.0.0/24", IPV6: f"{PREFIX}:244::/64"}  # the same in each node: each has its own network
ALL = {IPV4: "0.0.0.0/0", IPV6: "::/0"}


@dataclass(frozen=True)
class Families:
    """The IP families of a cluster, the primary one first."""

    order: tuple[str, ...] = (IPV4,)

    def each(self, values: Mapping[str, str]) -> list[str]:
        """Return the value of each family in order."""
        return [values[family] for family in self.order]

    def joined(self, values: Mapping[str, str]) -> str:
        """Return the values as components take them: separated by commas."""
        return ",".join(self.each(values))

    @property
    def first(self) -> str:
        """Return the primary family."""
        return self.order[0]

    @property
    def api_server_arguments(self) -> tuple[str, ...]:
        """Return the arguments that give Services these families."""
        return (f"--service-cluster-ip-range={self.joined(SERVICE_RANGE)}",)


SINGLE = Families()
CHOICES = {",".join(order): Families(order) for order in ((IPV4,), (IPV6,), (IPV4, IPV6), (IPV6, IPV4))}


def url_host(address: str) -> str:
    """Return an address as URLs have it."""
    return f"[{address}]" if ":" in address else address
