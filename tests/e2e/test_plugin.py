"""Test the plugin of kubectl on a node: what it reads from running caches and agents, and what it changes there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.plugin import Plugin

if TYPE_CHECKING:
    from tests.support.testbed import Testbed


FETCHED = "received_bytes_total"


@pytest.fixture(scope="module")
def plugin(testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """Return the plugin of the node's cluster."""
    return Plugin.installed(testbed.node.cluster, tmp_path_factory.mktemp("plugin"))


@pytest.mark.usefixtures("world")
def test_healthy_system_has_no_findings(plugin: Plugin) -> None:
    done = plugin.run("doctor")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "No findings. 1 mirror is fine.\n"


def test_node_is_configured(world: Testbed, plugin: Plugin) -> None:
    (node,) = plugin.items("nodes", "world")
    assert (node["state"], node["agent"]) == ("configured", world.agent("world"))
    assert node["runtime"].startswith("containerd://")


def test_pulled_image_is_listed_counted_and_purged(world: Testbed, plugin: Plugin) -> None:
    image = world.world.push("plugin/test:1")
    world.pull(image)
    stored = {each["repository"]: each for each in plugin.items("images", "world")}
    assert stored["plugin/test"]["tag"] == "1"
    assert stored["plugin/test"]["size"] > 0

    world.pull(image)
    (traffic,) = plugin.items("top", "world")
    assert traffic["upstream"] == world.world.host
    assert traffic["fetchedBytes"] > 0
    assert traffic["savedBytes"] > 0, "the second pull came from the store"

    before = world.counted("world", FETCHED, source="upstream")
    purged = plugin.run("purge", "world", image)
    assert purged.returncode == 0, purged.stderr
    assert "plugin/test" not in {each["repository"] for each in plugin.items("images", "world")}
    again = plugin.run("purge", "world", image)
    assert again.returncode == 1
    assert f"No cache of world has {image}." in again.stderr
    world.pull(image)
    assert world.counted("world", FETCHED, source="upstream") > before, "the next pull fetches it from the upstream"


@pytest.mark.usefixtures("world")
def test_logs_are_those_of_all_pods(plugin: Plugin) -> None:
    shown = plugin.output("logs", "world", "--tail=-1")
    programs = set(re.findall(r'"program": ?"(\w+)"', shown))
    assert programs == {"cache", "hostess"}
    assert '"program":"controller"' in plugin.output("logs", "world", "--component", "controller").replace(" ", "")


@pytest.mark.usefixtures("world")
def test_version_has_all_programs(plugin: Plugin) -> None:
    found = {each["program"] for each in plugin.items("version")}
    assert found == {"plugin", "webhook", "controller", "cache", "agent", "kubernetes"}


def test_lost_cache_is_found_and_explained(world: Testbed, plugin: Plugin) -> None:
    """An image of the caches that no registry has."""
    try:
        with world.without_controller():
            world.kubectl("set", "image", "statefulset/registry-mirror-world", "cache=nowhere.local.test/cache:none")
            world.kubectl("delete", "pod", "-l", "mirror=world,component=registry", "--wait")
            world.until(lambda: "ImagePullBackOff" in plugin.run("doctor").stdout, 90)
            done = plugin.run("doctor", "-o", "json")
            assert done.returncode == 1
            reasons = {each["reason"] for each in json.loads(done.stdout)["items"]}
            assert {"ImagePullBackOff", "ScaledToZero"} <= reasons
    finally:
        world.until(lambda: plugin.run("doctor").returncode == 0, 180, lambda: plugin.run("doctor").stdout)


def test_drain_leaves_a_clean_node(testbed: Testbed, plugin: Plugin) -> None:
    testbed.mirror("drained", testbed.private, credentialsSecret=testbed.credentials(testbed.private))
    done = plugin.run("drain", "--yes")
    assert done.returncode == 0, done.stderr
    assert "registrymirror.k8s.osp.tech/drained deleted\n" in done.stdout
    assert not testbed.hosts_toml(testbed.private.host)
    assert "registry-mirror" not in testbed.node.run("cat", "/etc/hosts").stdout
    testbed.until(lambda: not testbed.remains_of("drained"))
