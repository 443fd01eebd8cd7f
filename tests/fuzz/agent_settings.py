"""Fuzz the agent's environment: the settings are harmless, or each mistake is one line.

A line of the input is `NAME value` (see lines.py). Missing variables get valid values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import names
from hostess.settings import SettingsError, read
from tests.fuzz.lines import text_of

if TYPE_CHECKING:
    from pathlib import Path

VALID = {
    "SERVICE_NAME": "registry-mirror-docker",
    "SERVICE_NAMESPACE": "registry-mirror",
    "SHADOW_FQDN": "mirror-quay.io",
    "HOSTS_FILE": "/etc/hosts_from_host",
    "HOSTS_FILE_BACKUP": "/etc/hosts.backup/hosts",
    "LOCK_FILE": "/var/lock/hostess/mirror-hostess",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
}
PATHS = ("hosts_file", "backup", "lock_file", "ca_file", "docker_certs", "containerd_certs", "containers", "account")


def one(data: bytes) -> None:
    """Check one environment."""
    pairs = (text_of(line).partition(" ")[::2] for line in data.replace(b"\0", b"").split(b"\n"))
    try:
        settings = read({**VALID, **{name: value.replace("\\n", "\n") for name, value in pairs}})
    except SettingsError as error:
        assert all(": " in line for line in str(error).splitlines())
        return
    assert names.is_mirror_name(settings.mirror)
    assert names.is_dns_name(settings.masquerade)
    for name in PATHS:
        path: Path = getattr(settings, name)
        assert path.is_absolute()
        assert ".." not in path.parts
    assert 0 < settings.status_port < 65536
