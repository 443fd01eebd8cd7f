"""Describe the network of the API server: that of this machine or of a node."""

from dataclasses import dataclass

from tests.localcluster.ports import LOOPBACK


@dataclass(frozen=True)
class ApiServerNetwork:
    """The API server's network and its address there, which this machine can reach.

    `prefix` precedes the command line and must exec it. `arguments` follow the default ones.
    """

    address: str
    prefix: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


HOST_NETWORK = ApiServerNetwork(LOOPBACK)
