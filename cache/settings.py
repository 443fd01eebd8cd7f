"""Settings of the cache, from environment variables. Everything else is in its configuration file."""

from __future__ import annotations

from common.settings import LogLevel, Settings
from common.settings_table import setting


class CacheSettings(Settings):
    """Variables of the cache and their defaults."""

    log_level: LogLevel = setting("LOG_LEVEL", "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`", "Lowest level logged.")
