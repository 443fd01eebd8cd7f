"""Settings of the webhook, from environment variables."""

from __future__ import annotations

from pathlib import Path

from common.settings import Domains, LogLevel, Port, Settings
from common.settings_table import setting


class WebhookSettings(Settings):
    """Variables of the webhook and their defaults."""

    host: str = setting(
        "WEBHOOK_HOST", "", "IP address", "Address of the server; by default all addresses, IPv4 and IPv6."
    )
    port: Port = setting(
        "WEBHOOK_PORT",
        8443,
        "port",
        "Port of `/mutate`, `/validate`, `/healthz`, `/readyz` and `/metrics`, all over TLS.",
    )
    certificate_file: Path = setting(
        "TLS_CERT_FILE", ..., "path", "PEM file with the serving certificate, reloaded if it changes."
    )
    key_file: Path = setting("TLS_KEY_FILE", ..., "path", "PEM file with the key, reloaded if it changes.")
    log_level: LogLevel = setting("LOG_LEVEL", "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`", "Lowest level logged.")
    masquerade_domains: Domains = setting(
        "MASQUERADE_DOMAINS",
        (),
        "DNS names, comma separated",
        "Domains that may contain a masqueradeUrl. Set the same value for the controller.",
    )
