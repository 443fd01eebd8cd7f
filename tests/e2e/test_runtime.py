"""Test containerd configurations: the agent uses them, or its message says what to set."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import RUNTIME_USES_MIRRORS
from tests.localcluster.node.runtime import BY_DEFAULT, CONFIGURATION, DEBIAN, MODULES, TWO_ROOTS
from tests.support.traces import changed, config_path, configuration, configure, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

ANOTHER = "/etc/another/certs.d"


@pytest.fixture
def clean(testbed: Testbed) -> Iterator[Testbed]:
    """Provide the testbed, and assert that the node is unchanged after the test."""
    before = traces(testbed.node)
    yield testbed
    testbed.delete("runtime")
    assert changed(testbed.node, before) == set()


def pulls_past_the_mirror(testbed: Testbed, reason: str) -> str:
    """Apply a mirror that the node does not use; return the condition's message."""
    testbed.apply_mirror("runtime", testbed.world.host)
    condition = testbed.becomes("runtime", "NodesConfigured", reason, 120)
    assert condition["status"] == "False"
    assert testbed.node.name in condition["message"]
    testbed.pull(testbed.world.push(f"lib/runtime:{reason.lower()}", (2.0,)))
    assert testbed.counted("runtime") == 0
    return str(condition["message"])


def pulls_through_the_mirror(testbed: Testbed) -> None:
    """Assert that the node uses the mirror."""
    testbed.wait_ready("runtime")
    testbed.pull(testbed.world.push("lib/runtime:through", (2.0,)))
    assert testbed.counted("runtime") > 2_000_000


@pytest.mark.parametrize("path", [BY_DEFAULT, ""])
def test_containerd_default_config_path(clean: Testbed, flavour: str, path: str) -> None:
    """2.2 and newer take two roots for one folder's name, and the agent links it. 1.6 reads nothing."""
    with config_path(clean.node, path):
        if flavour == DEBIAN:
            assert 'config_path = "/etc/containerd/certs.d"' in pulls_past_the_mirror(clean, "RuntimeIgnoresCerts")
            return
        assert not clean.node.exists(TWO_ROOTS)
        clean.apply_mirror("runtime", clean.world.host)
        pulls_through_the_mirror(clean)
        assert clean.node.exists(TWO_ROOTS)
        clean.delete("runtime")


def test_containerd_with_two_roots(clean: Testbed, flavour: str) -> None:
    """1.6 splits them, 2 does not. Images come through the mirror in both."""
    with config_path(clean.node, TWO_ROOTS):
        clean.apply_mirror("runtime", clean.world.host)
        pulls_through_the_mirror(clean)
        assert clean.node.exists(TWO_ROOTS) == (flavour == MODULES)
        clean.delete("runtime")


def test_containerd_reads_another_folder(clean: Testbed) -> None:
    """The message names node, folder and setting. Following it makes the node use the mirror."""
    with config_path(clean.node, ANOTHER):
        message = pulls_past_the_mirror(clean, "RuntimeIgnoresCerts")
    assert ANOTHER in message
    assert "CONTAINERD_CERTS_DIR" in message
    pulls_through_the_mirror(clean)


def test_registry_mirrors_move_to_hosts_toml(clean: Testbed, flavour: str) -> None:
    """Following the message makes the node use the mirror. The moved host still works."""
    node, host = clean.node, clean.world.host
    plain = replace(node.runtime, config_path=BY_DEFAULT).configuration(node.folder)
    section = (
        f'[plugins."{"io.containerd.grpc.v1.cri" if flavour == DEBIAN else "io.containerd.cri.v1.images"}".registry'
    )
    mirrors = f'{section}.mirrors."old.local.test"]\n  endpoint = ["https://{host}"]\n'
    old_image = clean.world.push("lib/old:1").replace(host, "old.local.test")
    folder = "/etc/containerd/certs.d/old.local.test"
    with configuration(node, plain + mirrors):
        pulls(clean, old_image)
        message = pulls_past_the_mirror(clean, RUNTIME_USES_MIRRORS)
        found = re.search(r'delete registry\.mirrors\. Then set (config_path = "\S+") under (\[.+?\]) and', message)
        assert found is not None, message
        node.write(f"{folder}/hosts.toml", f'server = "https://old.local.test"\n[host."https://{host}"]\n')
        configure(node, f"{plain}{found[2]}\n  {found[1]}\n".encode())
        pulls_through_the_mirror(clean)
        pulls(clean, old_image)
        clean.delete("runtime")
        node.run("rm", "-r", folder)


def pulls(testbed: Testbed, image: str) -> None:
    """Pull an image by a pod."""
    pod = testbed.start_pull(image)
    testbed.node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
    testbed.forget(pod, image)


def test_import_that_the_agent_cannot_read(clean: Testbed, flavour: str) -> None:
    """K1: it sets another config_path, so no byte comes through. Without it the node uses the mirror."""
    node, imported = clean.node, f"{clean.node.folder}/own.toml"
    plain = replace(node.runtime, config_path="/etc/containerd/certs.d").configuration(node.folder)
    section = "io.containerd.grpc.v1.cri" if flavour == DEBIAN else "io.containerd.cri.v1.images"
    version = plain.partition("\n")[0]
    own = f'{version}\n[plugins."{section}".registry]\n  config_path = "{ANOTHER}"\n'
    if flavour == DEBIAN:  # an import replaces the whole section of the plugin there
        own = plain.replace("/etc/containerd/certs.d", ANOTHER)
    node.run("tee", imported, stdin=own)
    with configuration(node, f'imports = ["{imported}"]\n{plain}'):
        clean.apply_mirror("runtime", clean.world.host)
        condition = clean.becomes("runtime", "NodesConfigured", "RuntimeNotVerified", 120)
        assert condition["status"] == "Unknown"
        assert imported in condition["message"]
        assert clean.condition("runtime", "Ready")["status"] == "Unknown"
        clean.pull(clean.world.push("lib/runtime:unverified", (2.0,)))
        assert clean.counted("runtime") == 0
    with configuration(node, plain):
        pulls_through_the_mirror(clean)
        clean.delete("runtime")


def test_right_path_without_a_restart(clean: Testbed) -> None:
    """K1: no byte comes through, and the message says what is missing. Following it makes the node use the mirror."""
    node, files = clean.node, clean.node.runtime
    right = replace(files, config_path="/etc/containerd/certs.d").configuration(node.folder)
    with config_path(node, ANOTHER):
        assert ANOTHER in pulls_past_the_mirror(clean, "RuntimeIgnoresCerts")
        node.write(CONFIGURATION, right)
        condition = clean.becomes("runtime", "NodesConfigured", "RuntimeNotVerified", 120)
        assert (condition["status"], clean.condition("runtime", "Ready")["status"]) == ("Unknown", "Unknown")
        assert "Restart containerd." in condition["message"]
        clean.pull(clean.world.push("lib/runtime:not-restarted", (2.0,)))
        assert clean.counted("runtime") == 0
        configure(node, right.encode())
        pulls_through_the_mirror(clean)
        clean.delete("runtime")


def test_existing_hosts_toml_for_upstream(clean: Testbed) -> None:
    """The file stays and is named. After its removal the node uses the mirror."""
    folder = f"/etc/containerd/certs.d/{clean.world.host}"
    content = f'server = "https://{clean.world.host}"\n'
    clean.node.write(f"{folder}/hosts.toml", content)
    before = {each for each in traces(clean.node) if folder in each}
    assert folder in pulls_past_the_mirror(clean, "ExistingHostsToml")
    assert {each for each in traces(clean.node) if folder in each} == before
    clean.node.run("rm", "-r", folder)
    pulls_through_the_mirror(clean)
