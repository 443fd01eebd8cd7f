"""How the door to the cluster is hung: where the API server is, who we are, and over what we write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kubernetes.aio import client, config
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME

from controller import clock
from controller.kubeclient.errors import ClusterError
from controller.kubeclient.fencing import connector

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

# Connections: a dozen watches, twice sixteen workers (a write and a status each), a few for the lease and events.
CONNECTIONS: Final = 64
# Seconds between two looks at a pod's token: the kubelet puts another there minutes before one ends.
TOKEN_LOOK: Final = 60.0


async def load_configuration(kubeconfig: str | None) -> client.Configuration:
    """Where the API server is and who we are: from a kubeconfig file, or from the pod's service account where None.

    Raises ClusterError with a sentence where neither can be read.
    """
    configuration = client.Configuration()
    try:
        if kubeconfig:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, client_configuration=configuration
            )
        else:
            config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
            configuration.refresh_api_key_hook = PodToken(  # type: ignore[assignment]
                Path(SERVICE_TOKEN_FILENAME), clock.since_boot()
            )
    except (config.ConfigException, OSError) as error:
        where = f"KUBECONFIG={kubeconfig}" if kubeconfig else "the service account of a pod (KUBECONFIG is not set)"
        raise ClusterError(f"no way to the cluster: {where}: {error}") from error
    configuration.connection_pool_maxsize = CONNECTIONS
    # Python 3.13 refuses authorities without key identifiers, as EKS and old clusters have them; Go does not.
    configuration.disable_strict_ssl_verification = True
    # HTTPS_PROXY and NO_PROXY are for the caches and for the upstreams; the API server is asked directly.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


@dataclass(slots=True)
class PodToken:
    """The token of a pod's service account, read anew by a clock that nobody sets.

    The client's own goes by the wall clock: started while that was two years ahead, it would use its first token for
    two years, though the API server takes it for an hour.
    """

    path: Path
    read_at: float  # since boot

    def __call__(self, configuration: client.Configuration) -> None:
        """Called by the client before each request."""
        if clock.since_boot() < self.read_at + TOKEN_LOOK:
            return
        token = self.path.read_text().strip()
        if not token:
            raise config.ConfigException(f"{self.path} is empty")
        configuration.api_key["BearerToken"] = f"Bearer {token}"
        self.read_at = clock.since_boot()


class Writing(RESTClientObject):
    """The client's transport, over connections that send only while `may_write` does not raise."""

    def __init__(self, configuration: client.Configuration, may_write: Callable[[], float]) -> None:
        super().__init__(configuration)
        self._may_write = may_write

    def _create_connector(self) -> aiohttp.TCPConnector:
        return connector(self._may_write, self.maxsize, self.ssl_context)
