"""Name the Secrets, keys and annotations that several packages use."""

from __future__ import annotations

from typing import Final

# Keys of a mirror's Secret.
CONFIGURATION: Final = "config.json"
USERNAME: Final = "username"
PASSWORD: Final = "password"  # noqa: S105 (a key, no password)
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
