"""What the container runtime reads, and what it does not: the agent helps where it can, and else says what to set."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.agent_protocol import RUNTIME_USES_MIRRORS
from tests.localcluster.node.runtime import BY_DEFAULT, DEBIAN, MODULES, TWO_ROOTS
from tests.support.traces import changed, config_path, configuration, configure, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

ANOTHER = "/etc/another/certs.d"


@pytest.fixture
def clean(testbed: Testbed) -> Iterator[Testbed]:
    """The testbed, whose node is as it was when the test has ended."""
    before = traces(testbed.node)
    yield testbed
    testbed.delete("runtime")
    assert changed(testbed.node, before) == set()


def pulls_past_the_mirror(testbed: Testbed, reason: str) -> str:
    """Apply a mirror that its node does not use, whose condition has a reason; return the sentence."""
    testbed.apply_mirror("runtime", testbed.world.host)
    said = testbed.becomes("runtime", "NodesConfigured", reason, 120)
    assert said["status"] == "False"
    assert testbed.node.name in said["message"]
    testbed.pull(testbed.world.push(f"lib/runtime:{reason.lower()}", (2.0,)))
    assert testbed.counted("runtime") == 0
    return str(said["message"])


def pulls_through_the_mirror(testbed: Testbed) -> None:
    """As soon as the runtime reads what the agent writes."""
    testbed.wait_ready("runtime")
    testbed.pull(testbed.world.push("lib/runtime:through", (2.0,)))
    assert testbed.counted("runtime") > 2_000_000


@pytest.mark.parametrize("path", [BY_DEFAULT, ""])
def test_containerd_default_config_path(clean: Testbed, flavour: str, path: str) -> None:
    """2.2 and newer have two roots by default, which they take for one folder's name: the agent makes it lead to ours.

    1.6 reads nothing.
    """
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
    """1.6 splits them, 2 does not; images come through the mirror all the same."""
    with config_path(clean.node, TWO_ROOTS):
        clean.apply_mirror("runtime", clean.world.host)
        pulls_through_the_mirror(clean)
        assert clean.node.exists(TWO_ROOTS) == (flavour == MODULES)
        clean.delete("runtime")


def test_containerd_reads_another_folder(clean: Testbed) -> None:
    """The condition names node, folder and setting; once the folder is ours the mirror is used."""
    with config_path(clean.node, ANOTHER):
        said = pulls_past_the_mirror(clean, "RuntimeIgnoresCerts")
    assert ANOTHER in said
    assert "CONTAINERD_CERTS_DIR" in said
    pulls_through_the_mirror(clean)


def test_registry_mirrors_move_to_hosts_toml(clean: Testbed, flavour: str) -> None:
    """The steps of the message, in their order, lead to a node that pulls through the mirror.

    Pulls of the host that was moved still work.
    """
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
        found = re.search(r'delete registry\.mirrors and set (config_path = "\S+") under (\[.+?\])\.', message)
        assert found is not None, message
        node.write(f"{folder}/hosts.toml", f'server = "https://old.local.test"\n[host."https://{host}"]\n')
        configure(node, f"{plain}{found[2]}\n  {found[1]}\n".encode())
        pulls_through_the_mirror(clean)
        pulls(clean, old_image)
        clean.delete("runtime")
        node.run("rm", "-r", folder)


def pulls(testbed: Testbed, image: str) -> None:
    """Pull an image by a pod, whatever it is called inside."""
    pod = testbed.start_pull(image)
    testbed.node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
    testbed.forget(pod, image)


def test_existing_hosts_toml_for_upstream(clean: Testbed) -> None:
    """It is respected and named; once it is gone the mirror is used."""
    folder = f"/etc/containerd/certs.d/{clean.world.host}"
    content = f'server = "https://{clean.world.host}"\n'
    clean.node.write(f"{folder}/hosts.toml", content)
    before = {each for each in traces(clean.node) if folder in each}
    assert folder in pulls_past_the_mirror(clean, "ExistingHostsToml")
    assert {each for each in traces(clean.node) if folder in each} == before
    clean.node.run("rm", "-r", folder)
    pulls_through_the_mirror(clean)
