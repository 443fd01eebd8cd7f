"""Provide Debian's Prometheus and promtool from the user's cache. They are not installed."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.localcluster.build import cache_folder
from tests.localcluster.locks import exclusive
from tests.localcluster.node import debian


def programs(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of `prometheus` and `promtool`; unpack Debian's package if the cache lacks it.

    Raises LocalClusterError if apt-get fails.
    """
    cache = cache_folder(environment)
    folder = cache / f"prometheus-{platform.freedesktop_os_release()['VERSION_CODENAME']}"
    if not folder.exists():
        with exclusive(cache / "prometheus.lock", "another download of Prometheus"):
            if not folder.exists():  # another process may have unpacked it
                _unpack(folder)
    return folder / "usr" / "bin"


def _unpack(folder: Path) -> None:
    """Unpack into a temporary folder and rename it, so that an interruption leaves no result."""
    temporary = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        debian.unpack("prometheus", temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
