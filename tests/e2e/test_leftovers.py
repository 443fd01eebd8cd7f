"""K6: what a script or a backup writes back after a deletion is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.traces import agents, changed, entry, traces

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

pytestmark = pytest.mark.usefixtures("no_mirror")

SOON = 30.0  # seconds
REMOVED_WITHIN = 150.0  # seconds; three looks at most 24 s apart, on a loaded machine
SAVE = "tar --create --file=$1 /etc/hosts /etc/containerd/certs.d /etc/docker/certs.d 2> /dev/null"
# tar would replace the hosts file, which a mount of the agents refers to.
RESTORE = "tar -xf $1 --directory=/ etc/containerd etc/docker; tar -xf $1 --to-stdout etc/hosts"


def test_script_writes_the_hosts_file_back(testbed: Testbed) -> None:
    """It reads the file, waits two seconds, and writes its copy. The agent of the deleted mirror looks again."""
    before = traces(testbed.node)
    testbed.mirror("scripted", testbed.world)
    script = "copy=$(mktemp); cat /etc/hosts > $copy; sleep 2; cat $copy > /etc/hosts; rm $copy"
    testbed.kubectl("delete", "rm", "scripted", "--wait=false")
    testbed.node.run("sh", "-c", script)
    testbed.delete("scripted")
    testbed.until(lambda: not agents(testbed.node, "scripted"), SOON)
    assert changed(testbed.node, before) == set()


def test_backup_of_the_node_is_restored(testbed: Testbed) -> None:
    """The agent of another mirror removes the files, and its own stay."""
    node, backup = testbed.node, f"{testbed.node.folder}/backup.tar"
    testbed.mirror("kept", testbed.world)
    before = traces(node)
    testbed.mirror("gone", testbed.private, credentialsSecret=testbed.credentials(testbed.private))
    node.run("sh", "-c", SAVE, "sh", backup)
    testbed.delete("gone")
    restored = node.run("sh", "-c", RESTORE, "sh", backup).stdout
    node.write("/etc/hosts", restored)
    assert entry(node, "gone")
    assert testbed.hosts_toml(testbed.private.host)
    testbed.until(lambda: changed(node, before) == set(), REMOVED_WITHIN, lambda: changed(node, before))
    assert "leftovers removed" in testbed.kubectl("logs", testbed.agent("kept"))
    testbed.pull(testbed.world.push("lib/kept:1", (2.0,)))
    assert testbed.counted("kept") > 2_000_000
