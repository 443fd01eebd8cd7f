"""An authority that node, caches and our programs trust from the beginning, as they do those of the world.

Its key lies in the user's cache, since images hold its certificate and are made once for many clusters. Nobody but the
nodes and the images made here trusts it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.localcluster.build import cache_folder
from tests.localcluster.locks import exclusive
from tests.localcluster.pki import CertificateAuthority, Identity

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # where Go looks first, and Debian's OpenSSL by way of OPENSSL_LINK
OPENSSL_LINK = "usr/lib/ssl/cert.pem"


def public_ca(environment: Mapping[str, str] = os.environ) -> CertificateAuthority:
    """Return the authority, made when it is first used."""
    folder = cache_folder(environment) / "public-ca"
    with exclusive(folder / "ca.lock", "another program that makes it"):
        return CertificateAuthority(Identity(folder / "ca.crt", folder / "ca.key"), "public-of-local-clusters")


def public_ca_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the PEM file of its certificate."""
    public_ca(environment)
    return cache_folder(environment) / "public-ca" / "ca.crt"
