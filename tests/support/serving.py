"""Read the certificates of servers in the node's network, and the expected ones from Secrets."""

from __future__ import annotations

import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

from controller.objects.resources import MIRROR, SECRET
from tests.localcluster.node.runtime import ONE_ROOT
from tests.support.kube import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.localcluster.node.node import Node
    from tests.support.testbed import Testbed

ASK = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2])), timeout=2))"


def served(node: Node, addresses: Iterable[str], port: int) -> set[bytes]:
    """Return the certificates of the servers at the addresses. It is empty for a server that does not answer."""
    ask = [*node.sandbox.network, sys.executable, "-I", "-S", "-c", ASK]
    answers = (
        subprocess.run([*ask, each, str(port)], capture_output=True, text=True, check=False) for each in addresses
    )
    return {ssl.PEM_cert_to_DER_cert(each.stdout) if each.stdout else b"" for each in answers}


def issued(testbed: Testbed, secret: str) -> bytes:
    """Return the certificate of a Secret, or empty bytes without one."""
    found = testbed.kube.find(SECRET, secret)
    return ssl.PEM_cert_to_DER_cert(text(found, "tls.crt")) if found else b""


def trusted(testbed: Testbed, mirror: str) -> str:
    """Return the CAs with which the node's runtime verifies a mirror."""
    masquerade = testbed.kube.get(MIRROR, mirror)["status"]["masqueradeUrl"]
    return testbed.node.read(f"{ONE_ROOT}/{masquerade}/registry-mirror-{mirror}.crt").decode()


def to_be_trusted(testbed: Testbed, mirror: str) -> str:
    """Return the CAs that nodes have to trust for a mirror: two during a rotation."""
    return text(testbed.kube.get(SECRET, f"registry-mirror-{mirror}"), "ca.crt")
