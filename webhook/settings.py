"""What the webhook takes from its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from common.settings import Domains, LogLevel, Port, Settings


class WebhookSettings(Settings):
    """Names and defaults of the webhook's variables."""

    host: str = Field("0.0.0.0", alias="WEBHOOK_HOST")  # noqa: S104 (a Service reaches a pod from outside)
    port: Port = Field(8443, alias="WEBHOOK_PORT")
    certificate_file: Path = Field(alias="TLS_CERT_FILE")
    key_file: Path = Field(alias="TLS_KEY_FILE")
    log_level: LogLevel = Field("INFO", alias="LOG_LEVEL")
    masquerade_domains: Domains = Field((), alias="MASQUERADE_DOMAINS")
