"""Probe the components over HTTPS, without a proxy."""

import http.client
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.localcluster import commands
from tests.localcluster.families import url_host
from tests.localcluster.layout import Layout

TIMEOUT = 5.0  # seconds; a starting component may take two
HEALTH = {commands.API_SERVER: "/readyz", commands.CONTROLLER_MANAGER: "/healthz", commands.SCHEDULER: "/readyz"}
# The last object of a new cluster; pods are forbidden before.
DEFAULT_SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


@dataclass(frozen=True)
class Probe:
    """A probe with the administrator's certificate, which needs no RBAC bootstrap roles."""

    layout: Layout

    def ready(self, component: str, argv: Sequence[str]) -> Callable[[], bool]:
        """Return a function that is True once `component`, started by `argv`, is ready."""
        if component == commands.ETCD:
            return self._etcd_listens
        return lambda: self.ok(argv, HEALTH[component])

    def ok(self, argv: Sequence[str], path: str) -> bool:
        """Return True if GET `path` of the server started by `argv` returns 200."""
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
        """Return True if etcd's socket accepts connections; the API server waits for the rest."""
        directory = os.open(self.layout.folder, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                # Through /proc, as a socket's path has at most 107 characters.
                client.connect(f"/proc/self/fd/{directory}/{self.layout.etcd_socket.name}")
        except OSError:
            return False
        finally:
            os.close(directory)
        return True


def url_of(argv: Sequence[str]) -> str:
    """Return the URL of the server started by `argv`."""
    return f"https://{url_host(address_of(argv))}:{port_of(argv)}"


def port_of(argv: Sequence[str]) -> int:
    """Return the port in a component's command line; the last one counts."""
    return int(_value("--secure-port=", argv))


def address_of(argv: Sequence[str]) -> str:
    """Return the listening address in a component's command line; the last one counts."""
    return _value("--bind-address=", argv)


def _value(flag: str, argv: Sequence[str]) -> str:
    return [argument.removeprefix(flag) for argument in argv if argument.startswith(flag)][-1]
