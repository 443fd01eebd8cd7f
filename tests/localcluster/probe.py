"""Asks the components over HTTPS, past any proxy, whether they are ready."""

import http.client
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.localcluster import commands
from tests.localcluster.layout import Layout

TIMEOUT = 5.0  # seconds: a component that is busy starting may take a second or two to answer
HEALTH = {commands.API_SERVER: "/readyz", commands.CONTROLLER_MANAGER: "/healthz", commands.SCHEDULER: "/readyz"}
# The last thing to appear in a new cluster; before it does, pods are forbidden.
DEFAULT_SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


@dataclass(frozen=True)
class Probe:
    """Asks with the administrator's certificate, so that the answer does not wait for RBAC's bootstrap roles."""

    layout: Layout

    def ready(self, component: str, argv: Sequence[str]) -> Callable[[], bool]:
        """Return the question whether `component`, started by `argv`, does its work."""
        if component == commands.ETCD:
            return self._etcd_listens
        return lambda: self.ok(argv, HEALTH[component])

    def ok(self, argv: Sequence[str], path: str) -> bool:
        """Whether GET `path` of the server that was started by `argv` answers 200."""
        context = ssl.create_default_context(cafile=self.layout.ca.certificate)
        context.load_cert_chain(self.layout.admin.certificate, self.layout.admin.key)
        connection = http.client.HTTPSConnection(address_of(argv), port_of(argv), context=context, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _etcd_listens(self) -> bool:
        """Whether etcd's socket takes connections; the API server waits for the rest by itself."""
        directory = os.open(self.layout.folder, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                # by way of /proc, since the path of a socket ends at 107 characters
                client.connect(f"/proc/self/fd/{directory}/{self.layout.etcd_socket.name}")
        except OSError:
            return False
        finally:
            os.close(directory)
        return True


def port_of(argv: Sequence[str]) -> int:
    """Read the port that a component listens on from its command line; of several the last one counts."""
    return int(_value("--secure-port=", argv))


def address_of(argv: Sequence[str]) -> str:
    """Read the address that a component listens on from its command line; of several the last one counts."""
    return _value("--bind-address=", argv)


def _value(flag: str, argv: Sequence[str]) -> str:
    return [argument.removeprefix(flag) for argument in argv if argument.startswith(flag)][-1]
