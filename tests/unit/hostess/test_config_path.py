"""Test if each containerd reads our folder, by its configuration, and the message if not."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from pydantic import TypeAdapter

from common.agent_protocol import RUNTIME_USES_MIRRORS
from controller.desired.daemon_set import daemon_set
from controller.nodes.agent_status import SENTENCE_MAX
from controller.setting_formats import NodePath
from hostess.containerd import registry_tables
from hostess.containerd.config_path import TWO_ROOTS, reading
from hostess.containerd.config_reader import AFTER_FAILURE, Containerd
from hostess.containerd.runtime import Runtime, parse_version
from hostess.json_log import Log
from hostess.kube.api_client import ApiClient
from hostess.node_state import NodeConfigError
from tests.support.controller import parsed, settings
from tests.unit.hostess.tls_server import Server, account_for, document

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.hostess.node_files import NodeFiles

FOLDER = "/etc/containerd/certs.d"
_certs_dir = TypeAdapter(NodePath).validate_python
SECTIONS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
K3S = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"


def toml(path: str | None, version: int = 2) -> bytes:
    line = "" if path is None else f'config_path = "{path}"\n'
    return f'version = {version}\n[plugins."{SECTIONS[version]}".registry]\n{line}'.encode()


def of(version: str, *texts: bytes, folder: str = FOLDER) -> str | None:
    """Return the literal path, and assert that the agent has no doubt."""
    found = reading(texts, (), parse_version(f"containerd://{version}"), folder)
    assert found.doubt == ""
    return found.literal


def doubt(version: str, *texts: bytes, doubts: tuple[str, ...] = (), folder: str = FOLDER) -> str:
    """Return the agent's doubt."""
    return reading(texts, doubts, parse_version(version), folder).doubt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("containerd://2.4.2", Runtime("containerd", (2, 4))),
        ("containerd://1.6.20~ds1", Runtime("containerd", (1, 6))),
        ("containerd://v2.0.0-rc.1", Runtime("containerd", (2, 0))),
        ("containerd://1.7.23-k3s2", Runtime("containerd", (1, 7), is_of_k3s=True)),
        ("containerd://2.1.4-k3s1", Runtime("containerd", (2, 1), is_of_k3s=True)),
        ("cri-o://1.33.0", Runtime("cri-o", (1, 33))),
        ("docker://28.1.1", Runtime("docker", (28, 1))),
        ("containerd://Unknown", Runtime("containerd", None)),
        ("", Runtime("", None)),
    ],
)
def test_parse_version(text: str, expected: Runtime) -> None:
    assert parse_version(text) == expected


@pytest.mark.parametrize("version", ["2.2.0", "2.4.2", "3.0.0"])
def test_default_of_containerd_2_2(version: str) -> None:
    assert of(version, b"version = 3") == TWO_ROOTS
    assert of(version, toml(None, 3)) == TWO_ROOTS


def old(setting: str, generation: int = 2) -> bytes:
    """Write a setting of the time before hosts.toml."""
    return f'[plugins."{SECTIONS[generation]}".registry.{setting}]\n'.encode()


MIRRORS = 'mirrors."quay.io"]\nendpoint = ["https://q.example.com"]\n#'
TLS = 'configs."quay.io".tls'
AUTH = 'configs."quay.io".auth'


def uses_mirrors(version: str, *configurations: bytes) -> str:
    with pytest.raises(NodeConfigError) as caught:
        of(version, *configurations)
    assert caught.value.reason == RUNTIME_USES_MIRRORS
    assert len(caught.value.message) <= SENTENCE_MAX
    return caught.value.message


@pytest.mark.parametrize(
    ("version", "generation", "setting", "name"),
    [
        ("1.6.20", 2, MIRRORS, "registry.mirrors"),
        ("1.7.0", 1, MIRRORS, "registry.mirrors"),
        ("2.1.0", 3, MIRRORS, "registry.mirrors"),
        ("2.4.2", 3, MIRRORS, "registry.mirrors"),
        ("1.6.20", 2, TLS, "registry.configs"),
    ],
)
def test_old_settings_move_before_config_path(version: str, generation: int, setting: str, name: str) -> None:
    """In this order: containerd loads no CRI plugin with both."""
    message = uses_mirrors(version, toml(None, generation) + old(setting, generation))
    steps = ("First move", "hosts.toml", f"delete {name}", f'config_path = "{FOLDER}"', "restart")
    assert sorted(steps, key=message.index) == list(steps)
    both = toml(FOLDER, generation) + old(setting, generation)
    assert f"does not load with config_path and {name}" in uses_mirrors(version, both)


@pytest.mark.parametrize(
    ("version", "setting"), [("1.6.20", AUTH), ("2.4.2", AUTH), ("2.4.2", TLS), ("1.6.20", "mirrors")]
)
def test_settings_that_config_path_allows_hinder_nothing(version: str, setting: str) -> None:
    """(M) containerd 1.6.20 and 2.4.2 load all of these beside config_path."""
    generation = 2 if version.startswith("1") else 3
    assert of(version, toml(FOLDER, generation) + old(setting, generation)) is None


def test_imported_file_replaces_the_section_in_containerd_1() -> None:
    """(M) containerd 1.6.20 replaces the section of the plugin, 2.4.2 merges it."""
    assert of("1.6.20", old(MIRRORS), toml(FOLDER)) is None
    uses_mirrors("2.4.2", old(MIRRORS, 3), toml(FOLDER, 3))
    with pytest.raises(NodeConfigError, match="no config_path"):
        of("1.6.20", toml(FOLDER), toml(None))
    assert of("2.4.2", toml(FOLDER, 3), toml(None, 3)) is None


def test_named_folder_without_configuration_is_trusted() -> None:
    assert of("1.7.0", folder=K3S) is None


@pytest.mark.parametrize("version", ["1.6.20", "1.7.0", "2.0.5", "2.1.4"])
def test_default_before_containerd_2_2(version: str) -> None:
    with pytest.raises(NodeConfigError, match=f'config_path = "{FOLDER}"') as caught:
        of(version, b"version = 2")
    section = SECTIONS[2] if version.startswith("1") else SECTIONS[3]
    assert section in caught.value.message
    assert caught.value.reason == "RuntimeIgnoresCerts"


@pytest.mark.parametrize("version", ["1.6.20", "2.0.0", "2.1.0", "2.2.0"])
@pytest.mark.parametrize("generation", [1, 2, 3])
@pytest.mark.parametrize("path", [FOLDER, f"{FOLDER}/", f"/{FOLDER}"])
def test_our_folder_in_each_generation(version: str, generation: int, path: str) -> None:
    """Containerd 1 does not know the section of the third format, 2.0 to 2.2 not that of the first."""
    if version == "2.2.0" and generation == 1:
        assert of(version, toml(path, generation)) == TWO_ROOTS
    elif generation == 1 and version.startswith("2"):
        with pytest.raises(NodeConfigError, match=r"no config_path.*io\.containerd\.cri\.v1\.images"):
            of(version, toml(path, generation))
    elif version == "1.6.20" and generation == 3:
        with pytest.raises(NodeConfigError, match=r"no config_path.*io\.containerd\.grpc\.v1\.cri"):
            of(version, toml(path, generation))
    else:
        assert of(version, toml(path, generation)) is None


@pytest.mark.parametrize(
    ("version", "text", "section"),
    [
        ("1.6.20", b"", "cri"),
        ("1.6.20", b"version = 2", "io.containerd.grpc.v1.cri"),
        ("2.1.0", b"version = 2", "io.containerd.cri.v1.images"),
        ("2.1.0", toml("", 2), "io.containerd.grpc.v1.cri"),
        ("2.1.0", b'[plugins."cri".registry]', "io.containerd.cri.v1.images"),
    ],
)
def test_advice_names_the_section_that_counts(version: str, text: bytes, section: str) -> None:
    """An older section replaces a newer one, and without version only the oldest counts in containerd 1."""
    with pytest.raises(NodeConfigError) as caught:
        of(version, text)
    assert f'under [plugins."{section}".registry]' in caught.value.message
    followed = text.replace(f'[plugins."{section}".registry]'.encode(), b"").replace(b'config_path = ""', b"")
    advice = f'\n[plugins."{section}".registry]\nconfig_path = "{FOLDER}"\n'.encode()
    assert of(version, followed + advice) is None


@pytest.mark.parametrize("version", ["1.6.20", "2.4.2"])
@pytest.mark.parametrize("name", ["cri", "io.containerd.grpc.v1.cri"])
def test_disabled_cri_plugin_is_no_guess(version: str, name: str) -> None:
    """The kubelet needs the plugin, so containerd runs with another file. That of Docker's package disables it."""
    text = f'disabled_plugins = ["{name}"]\n'.encode() + toml(FOLDER)
    assert "disable the CRI plugin" in doubt(f"containerd://{version}", text)


@pytest.mark.parametrize(("version", "newest"), [("1.7.35", 2), ("2.1.9", 3), ("2.2.0", 3), ("2.4.2", 4)])
def test_unknown_format_is_no_guess(version: str, newest: int) -> None:
    """Containerd does not start with it. 1.6 takes any format."""
    for number in (newest, newest + 1):
        names = [each for each in SECTIONS.values() if "." in each]
        sections = "".join(f'[plugins."{each}".registry]\nconfig_path = "{FOLDER}"\n' for each in names)
        found = reading(
            (f"version = {number}\n{sections}".encode(),), (), parse_version(f"containerd://{version}"), FOLDER
        )
        assert ("does not know version" in found.doubt) == (number > newest)


def test_short_name_in_second_format_is_no_guess() -> None:
    """Containerd 1 does not start with it."""
    text = toml(FOLDER).replace(b"io.containerd.grpc.v1.cri", b"cri")
    assert "Version 2 has no section cri" in doubt("containerd://1.6.20", text)


@pytest.mark.parametrize(("version", "literal"), [("1.6.20", None), ("2.0.5", None), ("2.1.0", "l"), ("2.4.2", "l")])
def test_list_of_roots_by_version(version: str, literal: str | None) -> None:
    for path in (TWO_ROOTS, f"/{TWO_ROOTS}"):
        assert of(version, toml(path)) == (TWO_ROOTS if literal else None)


@pytest.mark.parametrize("path", ["/opt/certs.d", "/opt/a:/opt/b", f"{FOLDER}x"])
def test_other_folder_is_reported(path: str) -> None:
    with pytest.raises(NodeConfigError, match="config_path"):
        of("2.4.2", toml(path))


def assert_each_path_is_mounted_once(folder: str) -> None:
    """Fail if the API server would refuse the DaemonSet."""
    pod = daemon_set(parsed(), settings(CONTAINERD_CERTS_DIR=folder))["spec"]["template"]["spec"]
    for container in pod["containers"]:
        paths = [each["mountPath"] for each in container["volumeMounts"]]
        assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/opt/x/certs.d", "/opt/x/certs.d"),
        ("/opt/x/certs.d/", "/opt/x/certs.d"),
        ("/opt//x/./certs.d", "/opt/x/certs.d"),
        ("//opt/x/certs.d", "/opt/x/certs.d"),
        ("/opt/x/certs.d:/opt/y/certs.d", "/opt/x/certs.d"),
        ("/etc/docker/certs.d", "/etc/docker/certs.d"),
        ("/etc/containers.d/certs.d", "/etc/containers.d/certs.d"),
        ("/etc/containers/certs.d", None),
        ("/etc/registry-mirror/certs.d", None),
        ("/etc/registry-mirror/a/certs.d", None),
        ("/var/lock/hostess", None),
        ("/etc/certs.d", None),
        ("/etc/certs.d/", None),
        ("certs.d/a/b/c", None),
        ("/opt/x:/opt/y/certs.d", None),
    ],
)
def test_advice_names_a_folder_that_the_setting_takes(path: str, root: str | None) -> None:
    """Following it works: the API server takes the DaemonSet with that value, and the agent finds its folder."""
    with pytest.raises(NodeConfigError) as caught:
        of("1.7.0", toml(path))
    message = caught.value.message
    assert len(message) <= SENTENCE_MAX
    assert re.search(f'config_path (to {FOLDER}|= "{FOLDER}") ', message)
    named = re.search(r"CONTAINERD_CERTS_DIR to (\S+), for all nodes", message)
    assert (named and named[1]) == root
    if root is not None:
        assert _certs_dir(root) == root
        assert_each_path_is_mounted_once(root)
        assert of("1.7.0", toml(path), folder=root) is None
    else:
        with pytest.raises(ValueError, match="expected"):
            _certs_dir(path.partition(":")[0])


def test_literal_list_of_other_roots_changes_config_path() -> None:
    """With another CONTAINERD_CERTS_DIR the agent would not see that it must link the list."""
    with pytest.raises(NodeConfigError) as caught:
        of("2.4.2", toml("/opt/x/certs.d:/opt/y/certs.d"))
    assert "CONTAINERD_CERTS_DIR" not in caught.value.message
    assert f'Set config_path = "{FOLDER}" under' in caught.value.message


def test_empty_config_path_means_default() -> None:
    """Containerd 2.2 and newer take two roots, older ones read nothing."""
    assert of("2.4.2", toml("")) == TWO_ROOTS
    with pytest.raises(NodeConfigError, match="config_path"):
        of("1.6.20", toml(""))


@pytest.mark.parametrize("version", ["1.6.20", "2.0.5", "2.4.2"])
@pytest.mark.parametrize(("path", "searches"), [(FOLDER, False), (f"{FOLDER}/", False), (TWO_ROOTS, True)])
def test_one_root_excludes_the_folder_of_docker(version: str, path: str, *, searches: bool) -> None:
    runtime = parse_version(f"containerd://{version}")
    assert reading((toml(path),), (), runtime, FOLDER).searches_docker is searches
    assert reading((toml(path),), ("a doubt",), runtime, FOLDER).searches_docker


def test_unknown_config_path_searches_the_folder_of_docker() -> None:
    assert reading((), (), parse_version("containerd://1.7.23-k3s2"), K3S).searches_docker


def test_last_config_path_counts() -> None:
    assert of("1.7.0", toml("/opt"), toml(FOLDER), b"version = 2") is None
    with pytest.raises(NodeConfigError, match="/opt"):
        of("1.7.0", toml(FOLDER), toml("/opt"))


def test_k3s_folder() -> None:
    assert of("1.7.23-k3s2", toml(K3S), folder=K3S) is None


@pytest.mark.parametrize("version", ["1.7.23-k3s2", "2.1.4-k3s1"])
@pytest.mark.parametrize("texts", [(), (toml(FOLDER),), (toml(TWO_ROOTS),), (toml("/opt"),), (old(MIRRORS),)])
def test_leftover_configuration_is_no_proof_with_k3s(version: str, texts: tuple[bytes, ...]) -> None:
    """K1: k3s and RKE2 never read it. The folders that the message names are certain."""
    found = reading(texts, ("a doubt",), parse_version(f"containerd://{version}"), FOLDER)
    assert found.literal is None
    assert len(found.doubt) <= SENTENCE_MAX
    folders = re.findall(r"/var/\S+", found.doubt)
    assert folders == [K3S, K3S.replace("k3s", "rke2")]
    for folder in map(_certs_dir, folders):
        assert of(version, toml(folder), folder=folder) is None


def test_other_runtimes_are_reported() -> None:
    with pytest.raises(NodeConfigError, match="docker"):
        reading((), ("a doubt",), Runtime("docker", (28, 1)), FOLDER)
    assert "auto_reload_registries" in reading((), ("a doubt",), Runtime("cri-o", (1, 33)), FOLDER).doubt


@pytest.mark.parametrize("version", ["", "containerd://Unknown"])
@pytest.mark.parametrize("texts", [(), (toml(FOLDER),), (toml(TWO_ROOTS),), (toml("/opt"),)])
def test_unknown_version_is_no_guess(version: str, texts: tuple[bytes, ...]) -> None:
    """K1: the agent has no version without the right to read its Node."""
    assert "does not know the node's runtime" in doubt(version, *texts)


def test_missing_configuration_is_no_guess() -> None:
    """K1: k3s and others have it elsewhere, and the setting names the folder then."""
    for version in ("containerd://1.7.23-k3s2", "containerd://2.4.2"):
        assert "CONTAINERD_CERTS_DIR" in doubt(version)
    assert reading((), (), parse_version("containerd://2.4.2"), FOLDER).literal == TWO_ROOTS


@pytest.mark.parametrize("texts", [(toml(FOLDER),), (toml("/opt"),), (toml(None),), (old(MIRRORS),)])
@pytest.mark.parametrize("version", ["1.6.20", "2.4.2"])
def test_unreadable_configuration_is_no_guess(version: str, texts: tuple[bytes, ...]) -> None:
    """K1: another file may set another config_path, and may set a right one."""
    assert doubt(f"containerd://{version}", *texts, doubts=("first", "second")) == "first"


BROKEN = [b"[", b"\xff", b"a = " + b"[" * 9999, b"a = " + b"9" * 9999]
STRANGE = [b'plugins = "x"', b"plugins = []", b"imports = 3"]


@pytest.mark.parametrize("text", [*BROKEN, *STRANGE])
def test_strange_configuration_is_parsed(text: bytes) -> None:
    assert of("2.4.2", text) == TWO_ROOTS
    assert registry_tables.imports(text) == []
    assert registry_tables.is_toml(text) == (text in STRANGE)


def test_folder_of_agents_alone_is_no_proof(node: NodeFiles) -> None:
    """K1: the kubelet creates the parent of a wrong CONTAINERD_CERTS_DIR, and the agent the rest."""
    api = ApiClient("127.0.0.1", 1, node.root)
    containerd = Containerd(node.settings(), api, Log(io.StringIO()), runtime=Runtime("containerd", (2, 4)))
    assert "Compare CONTAINERD_CERTS_DIR" in containerd.reading().doubt
    node.agent().configure(("10.0.0.1",), b"ca", None)
    assert f"remove {node.containerd}/.registry-mirror" in containerd.reading().doubt
    (node.containerd / ".registry-mirror").unlink()
    assert containerd.reading().doubt == ""


def test_file_beside_the_folder_is_trusted(node: NodeFiles) -> None:
    """As with k0s, whose containerd.d has no config.toml."""
    node.put("etc/containerd/registry.toml")
    api = ApiClient("127.0.0.1", 1, node.root)
    containerd = Containerd(node.settings(), api, Log(io.StringIO()), runtime=Runtime("containerd", (2, 4)))
    assert containerd.reading().doubt == ""


@pytest.mark.parametrize(
    "answer",
    [b"[]", b'"node"', b'{"status":{"nodeInfo":[]}}', b'{"status":{"nodeInfo":{"containerRuntimeVersion":2}}}'],
)
def test_invalid_node_answer_is_retried(node: NodeFiles, tmp_path: Path, answer: bytes) -> None:
    """An exception would end the thread."""
    with Server(tmp_path) as server:
        server.behave = document(answer)
        api, log = ApiClient("127.0.0.1", server.port, account_for(server)), io.StringIO()
        containerd = Containerd(node.settings(NODE_NAME="a-node"), api, Log(log))
        assert containerd.read_version() == AFTER_FAILURE
    assert containerd.version_read
    assert "runtime version unknown" in log.getvalue()
