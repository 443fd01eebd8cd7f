"""Test mirrors with the original mirror-hostess as their agent, by a stand-in with the same contract."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.localcluster.node import archive, dockerfiles, images
from tests.localcluster.node.tree import Tree
from tests.support.traces import changed, entry, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

# A program of the image, which needs the environment of its pod.
STAND_IN = Path(__file__).parents[1] / "support" / "stand_in_hostess.py"
IMAGE = "local.test/stand-in/mirror-hostess:1"
LOCK = "/var/lock/mirror-hostess/mirror-hostess "
SOON = 60.0


def stand_in(folder: Path) -> Path:
    """Return the archive of the stand-in's image."""
    with tarfile.open(images.python_image()) as packed:
        names = json.load(packed.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        base = [packed.extractfile(name).read() for name in names]  # type: ignore[union-attr]
    program = Tree()
    program.file("stand_in.py", STAND_IN)
    settings = {"Entrypoint": ["python3", "-u", "/stand_in.py"]}
    path = folder / "stand-in.tar"
    archive.write(archive.Image(IMAGE, [*base, program.tar()], settings), path)
    return path


@pytest.fixture(scope="module")
def original(testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Provide the testbed with the stand-in as agent."""
    ours = testbed.system.environment["HOSTESS_IMAGE"]
    testbed.node.import_image(stand_in(tmp_path_factory.mktemp("stand-in")))
    testbed.system.set_environment(HOSTESS_IMAGE=IMAGE)
    yield testbed
    testbed.kubectl("delete", "rm", "--all", "--timeout=150s")
    testbed.system.set_environment(HOSTESS_IMAGE=ours)


def pulled(testbed: Testbed, image: str) -> None:
    """Pull an image by a pod and remove both."""
    pod = testbed.start_pull(image)
    testbed.until(lambda: testbed.running(pod), SOON, lambda: testbed.pull_error(pod))
    testbed.forget(pod, image)


def lines_of(testbed: Testbed, name: str) -> list[bytes]:
    """Return the lines of the node's hosts file with a name."""
    return [line for line in testbed.node.read("/etc/hosts").splitlines() if name.encode() in line.split()]


def test_original_agent_serves_masquerade_url(original: Testbed) -> None:
    """The status says which images use the mirror. A deletion cleans the node, and posts an Event."""
    host = original.world.host
    before = traces(original.node)
    original.mirror("seed", original.world)
    found = original.condition("seed", "NodesConfigured")
    assert (found["status"], found["reason"]) == ("True", "OriginalAgent")
    assert f"mirror-{host}/..." in found["message"]
    image = original.world.push("lib/seed:1", (2.0,))
    pulled(original, image.replace(host, f"mirror-{host}"))
    served = original.counted("seed")
    assert served > 2_000_000
    pulled(original, original.world.push("lib/seed:2", (2.0,)))
    assert original.counted("seed") == served, "by the upstream's name it is not used"
    assert not original.hosts_toml(host)
    original.delete("seed")
    assert lines_of(original, f"mirror-{host}") == []
    # The original appends a line break to the hosts file, and creates its lock file at its end.
    assert {each for each in changed(original.node, before) if not each.endswith(("/etc/hosts", LOCK))} == set()
    assert "NodesCleaned" in original.events("seed")


def test_hung_original_agent_is_cleaned_up(original: Testbed) -> None:
    """The original of mirror-operator hangs at times when its mirror is deleted."""
    name = f"mirror-{original.world.host}"
    original.mirror("hung", original.world)
    assert lines_of(original, name)
    assert original.node.run("pkill", "-STOP", "-f", "stand_in.py").returncode == 0
    original.delete("hung")
    assert lines_of(original, name) == []
    assert "NodesCleaned" in original.events("hung")


def test_switch_to_original_agent_cleans_the_node(original: Testbed) -> None:
    """The files of the project's agent go before the node counts as ready."""
    host = original.world.host
    original.system.set_environment(HOSTESS_IMAGE=dockerfiles.image_name("hostess"))
    original.mirror("moved", original.world)
    assert original.hosts_toml(host)
    assert entry(original.node, "moved")
    original.system.set_environment(HOSTESS_IMAGE=IMAGE)
    original.becomes("moved", "NodesConfigured", "OriginalAgent", 120)
    assert not original.hosts_toml(host)
    assert entry(original.node, "moved") == b""
    image = original.world.push("lib/moved:1", (2.0,))
    pulled(original, image.replace(host, f"mirror-{host}"))
    assert original.counted("moved") > 2_000_000
    original.delete("moved")
    assert lines_of(original, f"mirror-{host}") == []
