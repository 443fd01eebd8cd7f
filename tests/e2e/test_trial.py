"""Try the system by hand as a user does: `make up SYSTEM=1`, the commands that it prints, those of the documents.

The tests run in this order, and each needs those before it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.documents import ANSWERS, BY_HAND, MIRROR, SCENES, TRY_IT, Scene
from tests.localcluster.cluster import Cluster
from tests.localcluster.node import dockerfiles
from tests.localcluster.node.node import Node
from tests.localcluster.system import REPOSITORY
from tests.support import demo
from tests.support.kube import until
from tests.support.prometheus import Prometheus
from tests.support.traces import changed, traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 400  # seconds of a scene; those that install take 60
SCRAPED_WITHIN = 60.0  # seconds; Prometheus scrapes every 5
FOLDERS = ("deploy", "cli", "common")  # that the commands read or change
LOCK = "deploy/requirements/dev.txt"
NOT_COPIED = shutil.ignore_patterns("__pycache__")
# Where agents write.
WRITTEN = ("/etc/hosts", "/etc/containerd", "/etc/docker", "/etc/mirror-hostess")
NO_POD = "kubectl wait pod --all -n registry-mirror --for=delete --timeout=2m"
REMOVE = Scene("README.md", "Remove")


@dataclass(frozen=True)
class Trial:
    """The cluster of `make up`, its output, and a copy of the checkout."""

    folder: Path
    printed: str
    checkout: Path

    @property
    def node(self) -> Node:
        """Return the node."""
        return Node(Cluster(self.folder))

    def run(self, script: str) -> str:
        """Run a script of a user, which succeeds; return its output."""
        environment = Cluster(self.folder).shell_environment
        path = f"{self.checkout}/dist{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-euxc", script],
            cwd=self.checkout,
            env={**environment, "PATH": path, "REGISTRY": dockerfiles.REGISTRY, "TAG": dockerfiles.VERSION},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        assert done.returncode == 0, f"... {done.stdout[-2000:]}"  # the end says what failed
        return done.stdout


def make(command: str, folder: Path) -> str:
    """Run a command of README with the cluster in a folder; return its output."""
    # Below another make, as in `make e2e`, it would print its directory.
    environment = {**os.environ, "LOCAL_CLUSTER": str(folder), "MAKEFLAGS": "--no-print-directory"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy(target: Path) -> Path:
    """Copy what the commands use of the checkout, because they change it."""
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, target / name, ignore=NOT_COPIED)
    for name in ("Makefile", "LICENSE", ".venv"):
        (target / name).symlink_to(REPOSITORY / name)
    os.utime(target / LOCK, (0, 0))  # so that make takes the environment of this test for up to date
    return target


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the cluster alone."""
    return tmp_path_factory.mktemp("trial")


@pytest.fixture(scope="module")
def trial(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Start the cluster by the first command of README."""
    folder = outside / "cluster"
    up, down = TRY_IT.commands()
    try:
        yield Trial(folder, make(up, folder), copy(tmp_path_factory.mktemp("checkout")))
    finally:
        make(down, folder)


def test_printed_commands_work(trial: Trial) -> None:
    """They are a script, in which `doctor` finds nothing. Prometheus has the mirror soon."""
    script = trial.printed.partition("\n# Run these in ")[2].partition("\n")[2]
    trial.run("kubectl delete pod hello --ignore-not-found --now")
    printed = trial.run(script)
    assert "docker.io/library/hello:1" in printed
    assert "No findings. 1 mirror is fine." in printed
    question = next(line for line in script.splitlines() if "nodes_ready" in line)
    until(lambda: 'name="docker"' in trial.run(question), why="Prometheus has the mirror", seconds=SCRAPED_WITHIN)
    trial.run("kubectl delete pod hello --now")


def test_all_pods_are_scraped(trial: Trial) -> None:
    """Two pods of the webhook, the controller and the caches each, and an agent."""
    url = next(word.removesuffix("/classic/alerts") for word in trial.printed.split() if word.startswith("http://"))
    with httpx.Client(base_url=url, trust_env=False) as http:
        prometheus = Prometheus(http)
        until(
            lambda: list(prometheus.targets().values()) == ["up"] * 7, why="all targets are up", seconds=SCRAPED_WITHIN
        )


def test_release_is_removed(trial: Trial) -> None:
    """The documents begin without the system."""
    trial.run("\n".join(REMOVE.commands()))


@pytest.mark.parametrize("scene", SCENES, ids=lambda each: f"{each.document}-{each.section}".replace(" ", "-"))
def test_commands_of_the_documents_work(trial: Trial, scene: Scene) -> None:
    """All commands of a section succeed as they stand."""
    trial.run("\n".join([scene.before, *scene.commands()]))


def test_node_that_was_away_is_cleaned_by_hand(trial: Trial) -> None:
    """Files of a mirror that was deleted meanwhile."""
    node = trial.node
    files, kept = traces(node), f"{node.folder}/kept.tar"
    trial.run("\n".join([*Scene("README.md", "Install").commands(), ANSWERS, MIRROR]))
    node.run("tar", "--create", f"--file={kept}", *WRITTEN)
    trial.run("\n".join([*REMOVE.commands(), NO_POD]))
    node.run("tar", "--extract", "--overwrite", f"--file={kept}", "--directory=/")
    assert changed(node, files)
    node.run("bash", "-ec", "\n".join(BY_HAND.commands()))
    assert changed(node, files) == set()


def test_down_leaves_nothing(trial: Trial, outside: Path) -> None:
    make(TRY_IT.commands()[1], trial.folder)
    assert not demo.traces(outside)
