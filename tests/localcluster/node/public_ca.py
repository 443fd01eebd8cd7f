"""Create a CA that the node, caches and our programs trust, as they trust public CAs.

Its key is in the user's cache, because images have its certificate and serve many clusters. Only these nodes and images
trust it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.localcluster.build import cache_folder
from tests.localcluster.locks import exclusive
from tests.localcluster.pki import CertificateAuthority, Identity

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # for Go, and through OPENSSL_LINK for Debian's OpenSSL
OPENSSL_LINK = "usr/lib/ssl/cert.pem"


def public_ca(environment: Mapping[str, str] = os.environ) -> CertificateAuthority:
    """Return the CA; create it on first use."""
    folder = cache_folder(environment) / "public-ca"
    with exclusive(folder / "ca.lock", "another program that creates the CA"):
        return CertificateAuthority(Identity(folder / "ca.crt", folder / "ca.key"), "public-of-local-clusters")


def public_ca_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the PEM file of its certificate."""
    public_ca(environment)
    return cache_folder(environment) / "public-ca" / "ca.crt"
