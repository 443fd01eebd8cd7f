"""Install, upgrade, roll back and remove the system by Helm on a real node, with pulls running.

The tests run in this order, and each needs those before it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml

from controller.objects.well_known import MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE
from deploy.manifests import CHART, RELEASE
from tests.localcluster.cluster import Cluster
from tests.localcluster.node import dockerfiles
from tests.localcluster.node.installed import NAMESPACE, Installed, programs
from tests.localcluster.node.node import Node
from tests.localcluster.node.runtime import MODULES
from tests.localcluster.node.upstream import PUBLIC, Upstream
from tests.support.helm import Helm
from tests.support.testbed import Testbed
from tests.support.traces import changed, object_names, traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The CRD, and what the API server adds to it.
KIND = {"CustomResourceDefinition <none> registrymirrors.k8s.osp.tech", "APIService <none> v1.k8s.osp.tech"}
SOCKET = "/registry-mirror.dialer "
EXAMPLE = CHART.parent / "examples" / "infra.yaml"
NEXT = "99.0.0"
# Images built here, as a private registry: one value for the host, one tag for each image.
PROGRAMS = ("webhook", "controller", "agent", "cache")
IMAGES = {name: {"image": {"tag": dockerfiles.VERSION}} for name in PROGRAMS}
VALUES = {"global": {"imageRegistry": "local.test"}, **IMAGES}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Start a node with the images of all programs."""
    with Node(Cluster(tmp_path_factory.mktemp("helm") / "cluster"), flavour=MODULES).start() as started:
        for program in programs():
            started.import_image(dockerfiles.build(program))
            name = dockerfiles.image_name(program)
            started.ctr("images", "tag", name, name.replace(dockerfiles.VERSION, NEXT))
        yield started


@pytest.fixture(scope="module")
def testbed(node: Node) -> Iterator[Testbed]:
    """Provide the upstream and a node whose system is not installed yet."""
    world = Upstream(node, "world.local.test", 9, ca=PUBLIC).prepare().start()
    testbed = Testbed(node, Installed(node), world, world, world)
    yield testbed
    testbed.kube.close()


@pytest.fixture(scope="module")
def before(testbed: Testbed) -> tuple[set[str], set[str]]:
    """Return the objects of the cluster and the files of the node before anything is installed."""
    return object_names(testbed.node), traces(testbed.node)


@pytest.fixture(scope="module")
def helm(node: Node, tmp_path_factory: pytest.TempPathFactory, before: object) -> Helm:  # noqa: ARG001 (taken first)
    """Provide helm with access to the cluster."""
    return Helm(tmp_path_factory.mktemp("helm-files"), node.cluster)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the values; return helm's flag."""
    file = tmp_path_factory.mktemp("values") / "values.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    return f"--values={file}"


@pytest.fixture(scope="module")
def later(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package a chart of a later version, whose pods differ."""
    folder = tmp_path_factory.mktemp("later")
    chart = folder / "registry-mirror"
    shutil.copytree(CHART, chart)
    changed_values = yaml.safe_load((chart / "values.yaml").read_text())
    for program in ("webhook", "controller"):
        changed_values[program]["podAnnotations"] = {"example.com/version": NEXT}
    (chart / "values.yaml").write_text(yaml.safe_dump(changed_values))
    helm.run("package", chart, f"--version={NEXT}", f"--app-version={NEXT}", f"--destination={folder}")
    return folder / f"registry-mirror-{NEXT}.tgz"


@contextmanager
def pulling(testbed: Testbed, image: str) -> Iterator[list[float]]:
    """Pull an image again and again meanwhile; yield the seconds of each pull."""
    took: list[float] = []
    stopping, failures = threading.Event(), list[BaseException]()

    def pull() -> None:
        while not stopping.is_set():
            try:
                took.append(testbed.pull(image))
            except BaseException as error:  # noqa: BLE001 (raised below)
                failures.append(error)
                return

    thread = threading.Thread(target=pull)
    thread.start()
    yield took
    stopping.set()
    thread.join()
    assert not failures, failures
    assert took


def test_install_and_first_mirror(testbed: Testbed, helm: Helm, values: str) -> None:
    """The notes name the check of containerd and the first mirror; `helm test` passes; a pull uses the mirror."""
    printed = helm.run("install", RELEASE, CHART, values, "--create-namespace", "--wait", "--timeout=3m").stdout
    assert "containerd config dump | grep config_path" in printed
    assert "upstreamUrl: registry-1.docker.io" in printed
    testbed.node.cluster.restart_controllers()  # otherwise garbage collection of mirrors takes half a minute
    tested = helm.run("test", RELEASE, "--timeout=2m").stdout
    assert "Phase:          Succeeded" in tested
    testbed.mirror("first", testbed.world)
    testbed.pull(testbed.world.push("lib/first:1", (2.0,)))
    assert testbed.counted("first") > 2_000_000


def test_upgrade_and_rollback_during_pulls(testbed: Testbed, helm: Helm, later: Path) -> None:
    """No pull fails while all pods are replaced, those of the mirror too. The mirror becomes Ready."""
    image = testbed.world.push("lib/during:1", (2.0,))
    tags = [f"--set={program}.image.tag={NEXT}" for program in PROGRAMS]
    with pulling(testbed, image):
        printed = helm.run(
            "upgrade", RELEASE, later, "--reset-then-reuse-values", *tags, "--wait", "--timeout=3m"
        ).stdout
        assert "rm/docker" not in printed
        until_replaced(testbed, NEXT)
        helm.run("rollback", RELEASE, "1", "--wait", "--timeout=3m")
        until_replaced(testbed, dockerfiles.VERSION)
    testbed.mirror("second", testbed.world, masqueradeUrl="second.local.test")


def until_replaced(testbed: Testbed, version: str) -> None:
    """Wait until all pods run the images of a version, and the mirror is Ready."""
    assert versions(testbed) == {version}
    testbed.until(lambda: not others(testbed, version), 180, describe=lambda: others(testbed, version))
    testbed.wait_ready("first")


def others(testbed: Testbed, version: str) -> list[str]:
    """Return the images of other versions that pods run."""
    images = testbed.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}").split()
    return [each for each in images if not each.endswith(f":{version}")]


def versions(testbed: Testbed) -> set[str]:
    """Return the versions in the labels of the Deployments."""
    path = r"jsonpath={.items[*].metadata.labels.app\.kubernetes\.io/version}"
    return set(testbed.kubectl("get", "deployments", "-o", path).split())


def test_uninstall_without_controller_prints_way_out(testbed: Testbed, helm: Helm) -> None:
    """The release stays, and the printed command makes the next removal work."""
    testbed.system.scale("controller", 0)
    failed = helm.run("uninstall", RELEASE, "--timeout=3m", check=False)
    assert failed.returncode != 0
    printed = failed.stdout + failed.stderr
    # Helm 4 prints the log of a hook as one line, with escaped newlines.
    commands = re.findall(r"kubectl (scale [\w /.=-]+)", printed)
    assert len(commands) == 1, printed
    testbed.node.cluster.run_kubectl(*shlex.split(commands[0]))
    testbed.system.wait()


def test_uninstall_cleans_nodes(testbed: Testbed, helm: Helm, before: tuple[set[str], set[str]]) -> None:
    """All mirrors go first. The CRD, the namespace and the certificates of the controller are kept, nothing else."""
    objects, files = before
    done = helm.run("uninstall", RELEASE, "--timeout=4m")
    assert "No RegistryMirror is left." in done.stdout + done.stderr
    # Helm waits for no pod. The dialer's pod removes its socket when it ends.
    assert [each for each in changed(testbed.node, files) if SOCKET not in each] == []
    testbed.until(lambda: not changed(testbed.node, files), describe=lambda: changed(testbed.node, files))
    testbed.until(lambda: not _ours(testbed.node, objects), describe=lambda: _ours(testbed.node, objects))


def test_reinstall_adopts_crd(testbed: Testbed, helm: Helm, values: str) -> None:
    helm.run("install", RELEASE, CHART, values, "--wait", "--timeout=3m")
    assert testbed.kubectl("get", "rm") == ""
    # The webhook's pods find their former Secret. The controller is ready once the API server trusts them.
    assert "created" in testbed.kubectl("apply", "--dry-run=server", "-f", str(EXAMPLE))
    helm.run("uninstall", RELEASE, "--timeout=3m")


def _ours(node: Node, objects: set[str]) -> set[str]:
    """Return what is new in the cluster, besides volumes and what is kept."""
    secrets = {f"Secret {NAMESPACE} {each}" for each in (MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE)}
    usual = {f"ServiceAccount {NAMESPACE} default", f"ConfigMap {NAMESPACE} kube-root-ca.crt"}
    kept = {*KIND, f"Namespace <none> {NAMESPACE}", *secrets, *usual}
    return {each for each in object_names(node) - objects - kept if not each.startswith("PersistentVolume ")}
