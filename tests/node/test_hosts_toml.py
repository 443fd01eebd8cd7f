"""Test that the code of containerd 1.6 and 2 reads each file that the agent writes, without a node."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcluster.node import programs
from tests.support.certificates import Issuer
from tests.unit.hostess.node_files import NodeFiles

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("1.6", "2")
IP = ("10.96.0.7",)
MIRROR = "https://mirror-one.example.com/v2"
HUB = {"UPSTREAM_HOST": "docker.io", "UPSTREAM_URL": "https://registry-1.docker.io"}
_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
HUB_HOSTS = ("docker.io", *_HUB_HOSTS, *(f"{host}:443" for host in _HUB_HOSTS))


@pytest.fixture
def node(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path / "node")


def configure(node: NodeFiles, **changed: str) -> None:
    """Write the files of a mirror, with a real CA."""
    node.agent("one", **changed).configure(IP, Issuer().certificate, None)


def asked(node: NodeFiles, *hosts: str) -> dict[str, dict[str, Any]]:
    """Return the hosts that each containerd asks, by host of the image name."""
    command = [str(programs.build(programs.HOSTSDIR)), f"{node.containerd}:{node.docker}", *hosts]
    found: dict[str, dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    for host, versions in found.items():
        for version in VERSIONS:
            assert versions[version]["errors"] == "", f"containerd {version} on {host}"
    return found


def urls(result: dict[str, Any]) -> list[str]:
    return [each["url"] for each in result["hosts"]]


@pytest.mark.parametrize(
    ("changed", "fallbacks"),
    [
        ({}, {"one.example.com": "https://one.example.com", "one.example.com:443": "https://one.example.com:443"}),
        (
            {"UPSTREAM_URL": "http://one.example.com"},
            {"one.example.com": "http://one.example.com", "one.example.com:80": "http://one.example.com:80"},
        ),
        (
            {"UPSTREAM_HOST": "one.example.com:5000", "UPSTREAM_URL": "https://one.example.com:5000"},
            {"one.example.com:5000": "https://one.example.com:5000"},
        ),
        (
            {"UPSTREAM_HOST": "[fd00::1]", "UPSTREAM_URL": "https://[fd00::1]"},
            {"[fd00::1]": "https://[fd00::1]", "[fd00::1]:443": "https://[fd00::1]:443"},
        ),
        (HUB, {host: f"https://{host if host != 'docker.io' else 'registry-1.docker.io'}" for host in HUB_HOSTS}),
    ],
)
def test_each_name_leads_to_the_mirror_first(
    node: NodeFiles, changed: dict[str, str], fallbacks: dict[str, str]
) -> None:
    """K2, K10: the mirror with its CA, then the name of the image itself."""
    configure(node, **changed)
    for host, versions in asked(node, *fallbacks).items():
        for version in VERSIONS:
            assert urls(versions[version]) == [MIRROR, f"{fallbacks[host]}/v2"]
            mirror, _ = versions[version]["hosts"]
            assert mirror["resolve"]
            assert mirror["cas"]


@pytest.mark.parametrize(
    ("changed", "hosts"),
    [
        ({"SHADOW_FQDN": "one.example.com"}, ("one.example.com", "one.example.com:443")),
        ({**HUB, "SHADOW_FQDN": "registry-1.docker.io"}, HUB_HOSTS),
    ],
)
def test_mirror_with_the_upstreams_name_is_read(
    node: NodeFiles, changed: dict[str, str], hosts: tuple[str, ...]
) -> None:
    """K10: containerd 1.6 ignores a file without a table `host`."""
    configure(node, **changed)
    for versions in asked(node, *hosts).values():
        for version in VERSIONS:
            assert urls(versions[version]) == [f"https://{changed['SHADOW_FQDN']}/v2"]
            assert versions[version]["hosts"][0]["cas"]


@pytest.mark.parametrize("masquerade", ["mirror-one.example.com", "one.example.com"])
def test_carried_settings_are_read(node: NodeFiles, masquerade: str) -> None:
    """K10: with CAs and client certificates of the administrator, and names that need quoting."""
    folder, issuer = "etc/docker/certs.d/one.example.com", Issuer()
    pair = issuer.issue()
    node.put(f"{folder}/my ca's \\ ä.crt", issuer.certificate)
    node.put(f"{folder}/second.crt", issuer.certificate)
    node.put(f"{folder}/me.cert", pair.certificate)
    node.put(f"{folder}/me.key", pair.key)
    configure(node, SHADOW_FQDN=masquerade)
    versions = asked(node, "one.example.com")["one.example.com"]
    for version in VERSIONS:
        upstream = versions[version]["hosts"][-1]
        assert upstream["cas"]
        assert upstream["clients"] == 1


def test_pull_by_the_mirrors_name_is_read(node: NodeFiles) -> None:
    """K10: the folder of masqueradeUrl has the CA alone."""
    configure(node)
    versions = asked(node, "mirror-one.example.com")["mirror-one.example.com"]
    for version in VERSIONS:
        assert urls(versions[version]) == [MIRROR]
        assert versions[version]["hosts"][0]["cas"]


def test_check_finds_files_that_are_not_read(node: NodeFiles) -> None:
    """The file that the agent wrote before K10 was found, and one that no version reads."""
    node.put("etc/containerd/certs.d/one.example.com/hosts.toml", 'server = "https://one.example.com"\n')
    with pytest.raises(AssertionError, match=r"containerd 1\.6"):
        asked(node, "one.example.com")
    node.put("etc/containerd/certs.d/one.example.com/hosts.toml", "[")
    with pytest.raises(AssertionError, match="containerd"):
        asked(node, "one.example.com")
