"""Test the plugin of kubectl against a real API server."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from cli import arguments
from common import names
from common.version import VERSION
from controller.objects import resources
from tests.support.components import make_pods_ready
from tests.support.faults import one
from tests.support.kube import NAMESPACE, Kube, until
from tests.support.plugin import REFUSED_FLAGS, Plugin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.conftest import Running


@pytest.fixture(scope="module")
def plugin(shared: Running, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """Return the plugin of the shared cluster."""
    return Plugin.installed(shared.cluster, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def mirror(kube: Kube, name: str) -> str:
    """Return the name of a mirror whose caches are ready."""
    kube.mirror(one(name))
    make_pods_ready(kube, name, "registry", 2)
    kube.until_condition(name, "CacheAvailable", "True", "AllReplicasReady")
    return name


def test_every_login_flag_of_kubectl_is_known(plugin: Plugin) -> None:
    """The list of kubectl grows; the plugin refuses a flag that it does not know."""
    shown = plugin.cluster.run_kubectl("options").stdout
    flags = set(re.findall(r"(--[a-z-]+)=", shown)) - {"--namespace"}
    assert "--context" in flags
    assert flags - REFUSED_FLAGS - {*arguments.VALUE_FLAGS, *arguments.BARE_FLAGS} == set()


def test_status_shows_all_mirrors(plugin: Plugin, mirror: str) -> None:
    titles, *rows = (line.split() for line in plugin.output("status").splitlines())
    assert titles == ["NAME", "UPSTREAM", "READY", "REASON", "CACHE", "NODES", "AGE"]
    assert [mirror, f"https://{mirror}.example.com", "2/2"] in [[row[0], row[1], row[4]] for row in rows]
    assert f"registrymirror.k8s.osp.tech/{mirror}" in plugin.output("status", "-o", "name").split()
    assert f"mirror-{mirror}.example.com" in plugin.output("status", "-o", "wide")


def test_status_of_one_mirror_has_its_conditions(plugin: Plugin, mirror: str) -> None:
    shown = plugin.output("status", mirror)
    assert re.search(r"^CacheAvailable +True +AllReplicasReady ", shown, re.MULTILINE)
    assert plugin.cluster.run_kubectl("get", plugin.output("status", mirror, "-o", "name").strip()).returncode == 0


def test_status_follows_changes(plugin: Plugin, kube: Kube, mirror: str) -> None:
    command = [str(plugin.folder / "kubectl"), "registry-mirror", "status", mirror, "--watch"]
    lines: list[str] = []
    with subprocess.Popen(command, env=plugin.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        until(lambda: len(lines) >= 2, why="titles and a row")
        kube.kubectl("patch", "rm", mirror, "--type=merge", "-p", '{"spec": {"replicas": 3}}')
        until(lambda: any("2/3" in line for line in lines), why=f"a row for the change; {lines}")
        process.terminate()
    assert sum(line.startswith("NAME") for line in lines) == 1


def test_events_are_those_of_the_mirror(plugin: Plugin, mirror: str) -> None:
    until(lambda: plugin.items("events", mirror), why="Events of the objects")
    found = plugin.items("events", mirror)
    assert {each["object"].partition("/")[0] for each in found} >= {"statefulset"}
    assert all(mirror in each["object"] for each in found)
    assert [each["last"] for each in found] == sorted(each["last"] for each in found)


def test_version_names_the_installed_images(plugin: Plugin, mirror: str) -> None:
    versions = {each["program"]: each["version"] for each in plugin.items("version")}
    assert versions["cache"] == versions["agent"] == VERSION
    assert versions["kubernetes"].startswith("v1.")
    assert mirror


def test_unknown_mirror_exits_with_two(plugin: Plugin, mirror: str) -> None:
    done = plugin.run("nodes", "nonsense")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("There is no mirror 'nonsense'. Mirrors: ")
    assert mirror in done.stderr


def test_unreachable_cluster_exits_with_two(plugin: Plugin) -> None:
    done = plugin.run("status", "--server=https://127.0.0.1:1", "--request-timeout=2s")
    assert (done.returncode, done.stdout) == (2, "")
    assert "127.0.0.1:1" in done.stderr
    assert len(done.stderr.splitlines()) == 1, "without the log of kubectl"


@pytest.fixture(scope="module")
def reader(shared: Running) -> Path:
    """Return the kubeconfig of a user who may read the mirrors and the namespace of the system."""
    kube = shared.kube
    rule = {"apiGroups": ["k8s.osp.tech"], "resources": ["registrymirrors"], "verbs": ["get", "list"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    kube.apply({**role, "metadata": {"name": "plugin-reader"}, "rules": [rule]})
    kube.kubectl("create", "clusterrolebinding", "plugin-reader", "--clusterrole=plugin-reader", "--user=reader")
    kube.kubectl("create", "rolebinding", "plugin-reader", "--clusterrole=view", "--user=reader", "-n", NAMESPACE)
    return shared.cluster.kubeconfig_for("reader")


def test_reader_without_namespaces_finds_the_default(plugin: Plugin, reader: Path, mirror: str) -> None:
    """The user may not list Deployments of all namespaces."""
    done = plugin.run("nodes", mirror, kubeconfig=reader)
    assert (done.returncode, done.stderr) == (0, "No node has an agent of this mirror.\n")


def test_reader_sees_events_of_one_namespace(plugin: Plugin, reader: Path, mirror: str) -> None:
    """Events of mirrors are in `default`, those of their objects in the namespace of the system."""
    until(lambda: plugin.items("events", mirror), why="Events of the objects")
    done = plugin.run("events", mirror, kubeconfig=reader)
    assert done.returncode == 0
    assert mirror in done.stdout
    assert done.stderr.startswith("Some Events are missing. ")
    assert 'in the namespace "default"' in done.stderr


@pytest.mark.parametrize("command", [["images"], ["top"], ["purge", "nginx:1"]])
def test_silent_caches_are_named(plugin: Plugin, mirror: str, command: list[str]) -> None:
    """There is no kubelet, so no cache pod runs."""
    name, *arguments = command
    done = plugin.run(name, mirror, *arguments)
    assert done.returncode == 1
    for number in (0, 1):
        assert f"registry-mirror-{mirror}-{number} " in done.stderr


def test_logs_of_many_pods_are_followed(plugin: Plugin, kube: Kube, mirror: str) -> None:
    """A limit of kubectl counts containers. The pods have no node, so they have no logs."""
    metadata = {"namespace": NAMESPACE, "labels": names.pod_labels(mirror, names.REGISTRY)}
    spec = {"schedulerName": "none", "containers": [{"name": "cache", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
    extra = [f"{mirror}-{number}" for number in range(51)]
    kube.apply(*({**pod, "metadata": {**metadata, "name": each}} for each in extra))
    try:
        assert "--max-log-requests" not in plugin.run("logs", mirror, "--follow").stderr
    finally:
        kube.kubectl("delete", "pods", "-n", NAMESPACE, *extra, "--wait=false", "--grace-period=0", "--force")


def test_completion_offers_mirrors(plugin: Plugin, mirror: str) -> None:
    command = [str(plugin.folder / "kubectl"), "__complete", "registry-mirror", "status", mirror[:1]]
    done = subprocess.run(command, env=plugin.environment(), capture_output=True, text=True, check=True)
    assert mirror in done.stdout.splitlines()


def test_report_has_no_secrets(plugin: Plugin, kube: Kube, mirror: str, tmp_path: Path) -> None:
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{mirror}-login", "namespace": NAMESPACE},
            "stringData": {"username": "robot", "password": "hunter2-hunter2"},
        }
    )
    path = tmp_path / "report.tar.gz"
    assert plugin.output("report", "--file", str(path)) == f"{path}\n"
    assert path.stat().st_mode & 0o077 == 0
    with tarfile.open(path) as archive:
        texts = {each.name.partition("/")[2]: _text(archive, each) for each in archive.getmembers()}
    assert not any(secret in text for text in texts.values() for secret in ("hunter2", "aHVudGVyMi", "PRIVATE KEY"))
    assert f"{mirror}-login" in texts["objects/secrets.json"]
    assert mirror in {each["name"] for each in json.loads(texts["status.json"])}
    assert {"findings.json", "events.json", "objects/statefulsets.json", "objects/nodes.json"} <= texts.keys()
    failed = {line.partition(":")[0] for line in texts["failures.txt"].splitlines()}
    assert all(each.startswith("logs/") for each in failed), "there is no kubelet, and all else is readable"


def _text(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    file = archive.extractfile(entry)
    assert file is not None
    return file.read().decode()


def test_drain_deletes_all_mirrors(own: Running) -> None:
    kube, plugin = own.kube, Plugin.installed(own.cluster, own.cluster.folder / "plugin")
    kube.mirror(one("docker"))
    kube.until_there(resources.STATEFUL_SET, "registry-mirror-docker")
    refused = plugin.run("drain")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "Nothing was deleted. Confirm with --yes.\n"
    assert plugin.output("drain", "--yes") == "registrymirror.k8s.osp.tech/docker deleted\n"
    assert kube.every(resources.MIRROR) == []
    assert plugin.run("drain").stderr == "There are no mirrors.\n"

    kube.mirror(one("docker"))
    kube.kubectl(
        "create", "clusterrole", "deleter", "--verb=get,list,delete", "--resource=registrymirrors.k8s.osp.tech"
    )
    kube.kubectl("create", "clusterrolebinding", "deleter", "--clusterrole=deleter", "--user=deleter")
    unsure = plugin.run("drain", "--yes", kubeconfig=own.cluster.kubeconfig_for("deleter"))
    assert (unsure.returncode, unsure.stdout) == (1, "registrymirror.k8s.osp.tech/docker deleted\n")
    assert "It is not known whether all nodes are clean. Error from server (Forbidden)" in unsure.stderr

    kube.mirror(one("docker"))
    until(lambda: kube.get(resources.MIRROR, "docker")["metadata"].get("finalizers"), why="a finalizer")
    own.system.processes.stop(["controller"])
    stuck = plugin.run("drain", "--yes", "--timeout=1")
    assert (stuck.returncode, stuck.stdout) == (1, "")
    command = stuck.stderr.rpartition("remove the finalizer: ")[2]
    assert "patched" in kube.kubectl(*shlex.split(command)[1:]), "the advice works as it is written"
    kube.until_gone(resources.MIRROR, "docker")
