"""Test the registries that an agent reads from its Service, and their files on a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from common.agent_protocol import REGISTRIES_ANNOTATION, State
from hostess import registries
from hostess.kube.mirror_endpoints import MirrorEndpoints, parse_endpoints
from hostess.node_state import NodeConfigError
from hostess.registries import Registry
from tests.support import strategies
from tests.unit.hostess.node_files import CA
from tests.unit.hostess.running_agent import UP

if TYPE_CHECKING:
    from tests.unit.hostess.node_files import NodeFiles
    from tests.unit.hostess.running_agent import Running
    from tests.unit.hostess.tls_server import Server

IP = ("10.96.0.7",)
HUB = Registry("docker.io", "https://registry-1.docker.io")
QUAY = Registry("quay.io", "https://quay.io")
PLAIN = Registry("plain.test:5000", "http://plain.test:5000")
HOSTILE = [
    *("https://x?y", "https://x#y", "https://u:p@x", "https://x\ny", "https://x y", "https://\u0430.example.com"),
    *("x.example.com", "ftp://x", "https://", "https://x/path", "https://x:99999", 'https://x"', ""),
]


def _text(*found: Registry) -> str:
    return json.dumps([{"host": each.host, "url": each.url} for each in found])


def _up(*found: Registry) -> MirrorEndpoints:
    return MirrorEndpoints(UP.addresses, endpoints=UP.endpoints, registries=found)


def _folders(node: NodeFiles) -> set[str]:
    return {path.parent.name for path in node.ours()}


# The annotation


def test_service_names_registries() -> None:
    """The order is that of the spec. A Service without the annotation names none."""
    service = {"metadata": {"annotations": {REGISTRIES_ANNOTATION: _text(HUB, PLAIN)}}}
    assert parse_endpoints([service], None).registries == (HUB, PLAIN)
    assert parse_endpoints([{"metadata": {}}], None).registries is None


@pytest.mark.parametrize("host", [".", "..", ".hidden", "a/b", "_default", "a\0b", "a\nb", "a b", "x" * 256])
def test_dangerous_host_is_refused(host: str) -> None:
    """A host becomes the name of a folder."""
    assert registries.parse(_text(QUAY, Registry(host, "https://x"))) is None


@pytest.mark.parametrize("url", HOSTILE[:-1])
def test_dangerous_url_is_refused(url: str) -> None:
    """A URL becomes a line of hosts.toml."""
    parsed = registries.parse(_text(QUAY, Registry("x", url)))
    assert parsed is None or url == 'https://x"'  # quoted in hosts.toml


@given(strategies.json_values())
def test_any_annotation_is_harmless(value: Any) -> None:
    """Each host that is accepted is the name of one folder."""
    for text in (value, json.dumps(value), json.dumps([value]), json.dumps([{"host": value, "url": "https://x"}])):
        for each in registries.parse(text) or ():
            assert all(Path("/certs.d", host).parent == Path("/certs.d") for host in each.image_hosts)


@pytest.mark.parametrize(
    ("url", "is_named"),
    [("https://local.docker.io", True), ("https://LOCAL.docker.io:5000", True), ("https://docker.io", False)],
)
def test_mirror_with_upstream_name(url: str, *, is_named: bool) -> None:
    assert Registry("x", url).is_named("local.docker.io") is is_named


# The files


def test_each_registry_has_its_own_server(node: NodeFiles) -> None:
    """Each image host gets one hosts.toml, with its own upstream as the fallback."""
    agent = node.agent()
    agent.registries = (HUB, QUAY, PLAIN)
    agent.configure(IP, CA, None)
    servers = {path.parent.name: path.read_text().splitlines()[1] for path in node.ours()}
    assert servers == {
        "docker.io": 'server = "https://registry-1.docker.io"',
        "index.docker.io": 'server = "https://index.docker.io"',
        "index.docker.io_443_": 'server = "https://index.docker.io:443"',
        "registry.hub.docker.com": 'server = "https://registry.hub.docker.com"',
        "registry.hub.docker.com_443_": 'server = "https://registry.hub.docker.com:443"',
        "registry-1.docker.io": 'server = "https://registry-1.docker.io"',
        "registry-1.docker.io_443_": 'server = "https://registry-1.docker.io:443"',
        "quay.io": 'server = "https://quay.io"',
        "quay.io_443_": 'server = "https://quay.io:443"',
        "plain.test_5000_": 'server = "http://plain.test:5000"',
    }
    assert all('[host."https://mirror-one.example.com"]' in path.read_text() for path in node.ours())


def test_removed_registry_leaves_nothing(node: NodeFiles) -> None:
    """The folders of a removed registry go, and the others stay. At the end the node is as before."""
    before = node.tree()
    agent = node.agent()
    for found in ((HUB, QUAY, PLAIN), (PLAIN, QUAY), (QUAY,)):
        agent.registries = found
        agent.configure(IP, CA, None)
    assert _folders(node) == {"quay.io", "quay.io_443_"}
    assert not (node.containerd / "docker.io").exists()
    agent.withdraw()
    assert _folders(node) == set()
    agent.clean()
    assert node.tree() == before


@pytest.mark.parametrize("foreign", ["docker.io", "quay.io", "plain.test_5000_"])
def test_foreign_file_stops_its_host_only(node: NodeFiles, foreign: str) -> None:
    """The agent names that host, leaves the file unchanged, and writes all others."""
    by_hand = node.put(f"etc/containerd/certs.d/{foreign}/hosts.toml", 'server = "https://by.hand"')
    agent = node.agent()
    agent.registries = (HUB, QUAY, PLAIN)
    with pytest.raises(NodeConfigError, match=f"images of {foreign.replace('_5000_', ':5000')} do not come") as error:
        agent.configure(IP, CA, None)
    assert error.value.reason == "ExistingHostsToml"
    assert by_hand.read_text() == 'server = "https://by.hand"'
    usual = {"docker.io", "quay.io", "plain.test_5000_"}
    assert _folders(node) & usual == usual - {foreign}


@pytest.mark.parametrize("root", ["containerd", "docker"])
def test_advice_for_default_keeps_it(node: NodeFiles, root: str) -> None:
    """K3: following the advice makes all names use the mirror, and _default stays."""
    default = node.put(f"etc/{root}/certs.d/_default/hosts.toml", 'server = "https://by.hand"')
    agent = node.agent()
    agent.registries = (HUB,)
    with pytest.raises(NodeConfigError, match="create the folder") as error:
        agent.configure(IP, CA, None)
    assert "Remove" not in error.value.message
    (default.parents[1] / error.value.message.partition("create the folder ")[2].split()[0]).mkdir()
    agent.configure(IP, CA, None)
    assert _folders(node) == {each.replace(":443", "_443_") for each in HUB.image_hosts}
    agent.clean()
    assert _folders(node) == set()
    assert default.read_text() == 'server = "https://by.hand"'


def test_registry_of_another_mirror_is_skipped(node: NodeFiles) -> None:
    """An empty host belongs to an older mirror, which may share the node."""
    older, younger = node.agent("two"), node.agent()
    older.registries, younger.registries = (QUAY,), (Registry("", QUAY.url), HUB)
    older.configure(IP, CA, None)
    younger.configure(IP, CA, None)
    assert "registry-mirror two" in (node.containerd / "quay.io/hosts.toml").read_text()
    assert "registry-mirror one" in (node.containerd / "docker.io/hosts.toml").read_text()


def test_own_name_hides_the_first_registry_only(node: NodeFiles) -> None:
    """Containerd asks the mirror without `ns` for images of that name, and with `ns` for all others."""
    agent = node.agent(SHADOW_FQDN="quay.io")
    agent.registries = (QUAY, HUB)
    agent.configure(IP, CA, None)
    assert (node.containerd / "quay.io/hosts.toml").read_text().splitlines()[-1] == "[host]"
    assert '[host."https://quay.io"]' in (node.containerd / "docker.io/hosts.toml").read_text()


# The running agent


def test_running_agent_follows_registries(node: NodeFiles, one: Running) -> None:
    """Registries come and go without a new agent."""
    one.start(_up(HUB))
    one.becomes(State.CONFIGURED, "Configured")
    for found in ((HUB, QUAY), (QUAY, PLAIN), (PLAIN,)):
        one.agent.update(_up(*found))
        hosts = ", ".join(each.host for each in found)
        one.says(f"This node pulls images of {hosts} through the mirror.")
        usual = {each.host.replace(":5000", "_5000_") for each in found}
        assert _folders(node) & {"docker.io", "quay.io", "plain.test_5000_"} == usual


def test_unknown_registries_keep_files(node: NodeFiles, server: Server, one: Running) -> None:
    """An agent that starts while the API server is away changes no hosts.toml of a mirror that answers."""
    one.agent.node.registries = None
    former = node.agent(SHADOW_FQDN=one.agent.settings.masquerade)
    former.registries = (HUB, QUAY)
    former.configure(("127.0.0.1",), server.issuer.certificate, None)
    before = _folders(node)
    one.start(UP)
    one.becomes(State.PENDING, "MirrorUnknown")
    assert _folders(node) == before
    one.agent.update(_up(QUAY))
    one.becomes(State.CONFIGURED, "Configured")
    one.agent.update(UP)  # another program removed the annotation
    one.says("This node pulls images of quay.io through the mirror.")
    assert _folders(node) == {"quay.io", "quay.io_443_"}
