"""Name the Secrets, keys and annotations that several packages use."""

from __future__ import annotations

from typing import Final

# Keys of a mirror's Secret, and of the Secrets of users.
CONFIGURATION: Final = "config.json"
USERNAME: Final = "username"
PASSWORD: Final = "password"  # noqa: S105 (a key, no password)
# In a mirror's Secret the keys of an account start with the folder of its upstream. So the caches never send it to
# another upstream, also while they still have an older configuration.
CREDENTIALS_SUFFIXES: Final = (f".{USERNAME}", f".{PASSWORD}")
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
CA: Final = "ca.crt"

BUNDLE_FILE: Final = "ca-certificates.crt"  # mirror-operator's key in CA_CERTIFICATE_BUNDLE

MIRRORS_CA: Final = "registrymirror-ca"
WEBHOOK_CA: Final = "registrymirror-webhook-ca"
WEBHOOK_CERTIFICATE: Final = "registrymirror-webhook-tls"
CONFIGURATIONS: Final = "registrymirror"
# The key under which the webhook's certificates are reconciled; no mirror can have such a name.
ADMISSION_KEY: Final = ":admission"


def credentials_keys(directory: str) -> tuple[str, str]:
    """Return the keys of user name and password of an upstream in the mirror's Secret."""
    username, password = CREDENTIALS_SUFFIXES
    return f"{directory}{username}", f"{directory}{password}"
