"""Load the API server's address and the credentials: from a kubeconfig file or from the pod's service account."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernetes.aio import client, config
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME

from controller import clock
from controller.kubeclient.errors import ClusterError

# Connections: a dozen watches, one per worker, a few for the lease and Events.
CONNECTIONS: Final = 64
# Seconds between two reads of the pod's token. The kubelet replaces it minutes before it expires.
TOKEN_INTERVAL: Final = 60.0


async def load_configuration(kubeconfig: str | None) -> client.Configuration:
    """Return the client's configuration, read from `kubeconfig` or, if that is None, from the pod's service account.

    Raises ClusterError if it cannot be read.
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
    # Python 3.13 rejects CAs without key identifiers, unlike Go; EKS and old clusters have such CAs.
    configuration.disable_strict_ssl_verification = True
    # HTTPS_PROXY and NO_PROXY are for caches and upstreams; the API server is reached directly.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


@dataclass(slots=True)
class PodToken:
    """Refresh the token of the pod's service account by a monotonic clock.

    The client's own refresh uses the wall clock: set back by hours, that would keep an expired token.
    """

    path: Path
    read_at: float  # seconds since boot

    def __call__(self, configuration: client.Configuration) -> None:
        """Read the token again if it is due; the client calls this before each request."""
        if clock.since_boot() < self.read_at + TOKEN_INTERVAL:
            return
        token = self.path.read_text().strip()
        if not token:
            raise config.ConfigException(f"{self.path} is empty")
        configuration.api_key["BearerToken"] = f"Bearer {token}"
        self.read_at = clock.since_boot()
