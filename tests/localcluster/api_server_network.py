"""Where the API server runs: on this machine as it is, or in the network of a node."""

from dataclasses import dataclass

from tests.localcluster.ports import LOOPBACK


@dataclass(frozen=True)
class ApiServerNetwork:
    """A network that the API server is in, with the address it has there, which this machine reaches too.

    `prefix` goes before its command line and ends by becoming it (the process id stays); `arguments` come after ours.
    """

    address: str
    prefix: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


HOST_NETWORK = ApiServerNetwork(LOOPBACK)
