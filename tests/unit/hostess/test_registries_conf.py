"""Test the drop-ins for podman and CRI-O, and how foreign files are respected."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import EXISTING_REGISTRIES_CONF, RUNTIME_IGNORES_CERTS, State
from hostess.containerd.runtime import Runtime, parse_version
from hostess.containers import registries_conf
from hostess.containers.registries_conf import Registry
from hostess.node_state import NodeConfigError
from hostess.registries import Registry as OfMirror
from tests.unit.hostess.node_files import CA, NodeFiles
from tests.unit.hostess.running_agent import UP, Running, wait_withdrawn

if TYPE_CHECKING:
    from typing import Any

    from tests.unit.hostess.tls_server import Server

IP = ("10.96.0.7",)
MIRROR = "mirror-one.example.com"
OWN = "etc/containers/registries.conf.d/registry-mirror-one.conf"
HUB = {"UPSTREAM_HOST": "docker.io", "UPSTREAM_URL": "https://registry-1.docker.io"}


@pytest.fixture
def podman(node: NodeFiles) -> NodeFiles:
    """Provide a node with podman."""
    node.put("etc/containers/policy.json", "{}")
    (node.containers / "registries.conf.d").mkdir()
    return node


def drop_in(node: NodeFiles) -> list[dict[str, Any]]:
    """Return the tables of the mirror's drop-in; none without one."""
    path = node.root / OWN
    found: list[dict[str, Any]] = tomllib.loads(path.read_text())["registry"] if path.exists() else []
    return found


def hosts(node: NodeFiles) -> list[str]:
    return [each["prefix"] for each in drop_in(node)]


def test_mirror_comes_before_the_upstream(podman: NodeFiles) -> None:
    podman.agent().configure(IP, CA, None)
    first, second = drop_in(podman)
    location = f"{MIRROR}/one.example.com"
    assert first == {"prefix": "one.example.com", "location": "one.example.com", "mirror": [{"location": location}]}
    assert second["prefix"] == second["location"] == "one.example.com:443"
    assert (podman.docker / f"{MIRROR}/registry-mirror-one.crt").read_bytes() == CA


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (HUB, ["docker.io", "registry-1.docker.io", "index.docker.io", "registry.hub.docker.com"]),
        ({"UPSTREAM_HOST": "one.example.com:5000", "UPSTREAM_URL": "http://one.example.com:5000"}, None),
        ({"UPSTREAM_HOST": "[fd00::1]", "UPSTREAM_URL": "https://[fd00::1]"}, []),
        ({"UPSTREAM_HOST": ""}, []),
        ({"SHADOW_FQDN": "one.example.com"}, []),
    ],
)
def test_each_name_has_a_table(podman: NodeFiles, changed: dict[str, str], expected: list[str] | None) -> None:
    """Podman takes no IPv6 address. A mirror with the upstream's own name needs none."""
    podman.agent(**changed).configure(IP, CA, None)
    if expected is None:
        (only,) = drop_in(podman)
        assert (only["prefix"], only["insecure"]) == ("one.example.com:5000", True)
        assert only["mirror"][0]["location"] == MIRROR
    else:
        assert hosts(podman)[: len(expected)] == expected


def test_location_has_the_host_of_the_upstream(podman: NodeFiles) -> None:
    """Podman sends no `ns`. A path of an image has no port: the first upstream is the default of the mirror."""
    agent = podman.agent(**HUB)
    additional = [("quay.io", "https"), ("plain.test", "http"), ("port.test:5000", "https"), ("", "https")]
    agent.registries = (*(agent.registries or ()), *(OfMirror(host, f"{scheme}://x") for host, scheme in additional))
    agent.configure(IP, CA, None)
    locations = {each["prefix"]: each["mirror"][0]["location"] for each in drop_in(podman)}
    hub = {host for host in locations if host.partition(":")[0].endswith(("docker.io", "docker.com"))}
    assert {locations.pop(host) for host in hub} == {f"{MIRROR}/docker.io"}
    assert locations == {
        **dict.fromkeys(("quay.io", "quay.io:443"), f"{MIRROR}/quay.io"),
        **dict.fromkeys(("plain.test", "plain.test:80"), f"{MIRROR}/plain.test"),
    }
    agent.registries = None
    agent.configure(IP, CA, None)
    assert len(drop_in(podman)) == len(locations) + len(hub), "an agent that starts keeps the drop-in"


def test_node_without_podman_gets_no_drop_in(node: NodeFiles) -> None:
    """The mount creates empty folders. CRI-O reads drop-ins without any other file."""
    (node.containers / "registries.conf.d").mkdir(parents=True)
    node.agent().configure(IP, CA, None)
    assert not drop_in(node)
    node.agent().configure(IP, CA, None, reads_drop_in=True)
    assert drop_in(node)


def test_drop_in_is_withdrawn_and_cleaned(podman: NodeFiles) -> None:
    before = podman.tree()
    agent = podman.agent()
    agent.configure(IP, CA, None)
    agent.withdraw()
    assert not drop_in(podman)
    agent.configure(IP, CA, None)
    assert not agent.is_clean()
    podman.put("etc/containers/registries.conf.d/.registry-mirror-one.part")
    agent.clean()
    assert agent.is_clean()
    assert podman.tree() == before


def test_drop_in_of_deleted_mirror_is_a_leftover(podman: NodeFiles) -> None:
    podman.agent().configure(IP, CA, None)
    content = (podman.root / OWN).read_bytes()
    podman.agent().clean()
    podman.put(OWN, content)
    other = podman.agent("two")
    assert other.other_mirrors() == {"one"}
    assert other.remove_leftovers("one")
    assert not drop_in(podman)


FOREIGN = [
    '[[registry]]\nlocation = "one.example.com"\n',
    '[[registry]]\nprefix = "one.example.com"\nlocation = "elsewhere"\n',
    '[[registry]]\nprefix = "*.example.com"\nblocked = true\n',
    '[registries.insecure]\nregistries = ["one.example.com"]\n',
    '[registries.block]\nregistries = ["one.example.com"]\n',
    "[[registry",
]


@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("name", ["registries.conf", "registries.conf.d/00-own.conf", "registries.conf.d/zz.conf"])
def test_registry_of_foreign_file_is_not_taken(podman: NodeFiles, name: str, content: str) -> None:
    """Podman's problems are no problems of a node with containerd. CRI-O is the node's runtime."""
    podman.agent().configure(IP, CA, None)
    path = podman.put(f"etc/containers/{name}", content)
    podman.agent().configure(IP, CA, None)
    assert "one.example.com" not in hosts(podman)
    with pytest.raises(NodeConfigError) as caught:
        podman.agent().configure(IP, CA, None, reads_drop_in=True)
    assert caught.value.reason == EXISTING_REGISTRIES_CONF
    assert str(path) in caught.value.message
    assert path.read_text() == content


def test_folder_among_drop_ins_is_skipped(podman: NodeFiles) -> None:
    """K5: podman skips it, and fails at a link to a folder."""
    folder = podman.containers / "registries.conf.d/old.conf"
    folder.mkdir()
    podman.agent().configure(IP, CA, None, reads_drop_in=True)
    assert "one.example.com" in hosts(podman)
    link = folder.with_name("link.conf")
    link.symlink_to(folder)
    with pytest.raises(NodeConfigError, match=str(link)):
        podman.agent().configure(IP, CA, None, reads_drop_in=True)
    assert not drop_in(podman)


@pytest.mark.parametrize(
    "content",
    [
        'unqualified-search-registries = ["one.example.com"]\n',
        '[[registry]]\nprefix = "one.example.com/team"\nlocation = "elsewhere"\n',
        '[[registry]]\nprefix = "*.one.example.com"\n',
        '[registries.search]\nregistries = ["one.example.com"]\n',
        "registry = 5\nregistries = 5\n",
        "[[registry]]\nprefix = 5\n[registries.block]\nregistries = 5\n",
    ],
)
def test_other_foreign_settings_do_not_matter(podman: NodeFiles, content: str) -> None:
    podman.put("etc/containers/registries.conf", content)
    podman.agent().configure(IP, CA, None, reads_drop_in=True)
    assert "one.example.com" in hosts(podman)


@pytest.mark.parametrize("host", ["", "a b", 'a"', "a\n", "[::1]", "A.b", "a..b/", "-a", "a:123456"])
def test_broken_drop_in_is_never_rendered(host: str) -> None:
    """It would break every pull of the node."""
    for registry in (Registry(host, MIRROR), Registry("a.b", host)):
        with pytest.raises(ValueError, match="no host"):
            registries_conf.render("one", [registry])


def test_crio_must_reload_the_drop_in(podman: NodeFiles, server: Server) -> None:
    one = Running(podman, server)
    one.agent.containerd.runtime = parse_version("cri-o://1.31.2")
    one.start().becomes(State.UNVERIFIED, "RuntimeNotVerified")
    try:
        assert "auto_reload_registries" in one.agent.state.message
        assert drop_in(podman)
        server.stop()
        wait_withdrawn(one)
        assert not drop_in(podman)
    finally:
        one.stop()


@pytest.mark.parametrize("runtime", ["docker://20.10.24", "cri-o://1.31.2"])
def test_runtime_without_hosts_toml_uses_masquerade_url(podman: NodeFiles, server: Server, runtime: str) -> None:
    """A mirror without images of its own needs the CA and the hosts entry."""
    one = Running(podman, server, UPSTREAM_HOST="")
    one.agent.containerd.runtime = parse_version(runtime)
    one.start(UP).becomes(State.CONFIGURED, "Configured")
    one.stop()


def test_docker_reads_no_mirror_of_a_registry(podman: NodeFiles, server: Server) -> None:
    one = Running(podman, server)
    one.agent.containerd.runtime = Runtime("docker", (20, 10))
    one.start().becomes(State.BLOCKED, RUNTIME_IGNORES_CERTS)
    one.stop()
