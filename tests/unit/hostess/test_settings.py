"""Test the agent's environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostess.settings import SettingsError, read

SEED = {
    "SERVICE_NAME": "registry-mirror-docker",
    "SERVICE_NAMESPACE": "registry-mirror",
    "SHADOW_FQDN": "local.docker.io",
    "HOSTS_FILE": "/etc/hosts_from_host",
    "HOSTS_FILE_BACKUP": "/etc/hosts.backup/hosts",
    "LOCK_FILE": "/var/lock/hostess/mirror-hostess",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
}


def test_seed_variables_are_enough() -> None:
    settings = read(SEED)
    assert settings.mirror == "docker"
    assert settings.ca_file == Path("/etc/registry-mirror/ca.crt")
    assert settings.docker_certs == Path("/etc/docker/certs.d")
    assert settings.containerd_certs == Path("/etc/containerd/certs.d")
    assert (settings.api_host, settings.api_port, settings.status_port) == ("10.96.0.1", 443, 8081)


def test_empty_variable_counts_as_unset() -> None:
    assert read({**SEED, "STATUS_PORT": " ", "NODE_NAME": ""}) == read(SEED)
    with pytest.raises(SettingsError, match=r"^SERVICE_NAME: is not set; it is required$"):
        read({**SEED, "SERVICE_NAME": " "})


def test_all_mistakes_are_reported_together() -> None:
    wrong = {
        "SERVICE_NAME": "docker",
        "SERVICE_NAMESPACE": "A_B",
        "SHADOW_FQDN": "10.0.0.1",
        "HOSTS_FILE": "hosts",
        "HOSTS_FILE_BACKUP": "/etc/../hosts",
        "LOCK_FILE": "/lock",
        "NODE_NAME": "Node",
        "STATUS_PORT": "0",
        "KUBERNETES_SERVICE_PORT": "https",
    }
    with pytest.raises(SettingsError) as error:
        read(wrong)
    lines = str(error.value).splitlines()
    for name, value in wrong.items():
        assert sum(line.startswith(f"{name}={value!r}: expected") for line in lines) == 1
    assert "KUBERNETES_SERVICE_HOST: is not set; it is required" in lines
    assert len(lines) == len(wrong) + 1
