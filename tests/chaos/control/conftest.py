"""A cluster for each file, with the system beside it: what a fault leaves usable is shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.conftest import clusters
from tests.support.audit import credential
from tests.support.faults import complete, one
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.conftest import Making, Running

HERE = Path(__file__).parent
# Seconds for one test: most take one minute, the random operations as long as they were told to.
LONGEST = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fifteen minutes of random operations are no hang."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Making]:
    """Makes clusters that a file's tests share, without a scheduler, whose Events would tell of each pod."""
    with clusters(request, tmp_path_factory, scheduler=False) as make:
        yield make


@pytest.fixture(scope="module")
def running(ground: Making) -> Running:
    """The cluster of a file's tests, webhook and controller started."""
    running = ground()
    running.system.start()
    until_served(running)
    return running


def until_served(running: Running) -> None:
    """Returns when a mirror was taken, called `undisturbed`, and is complete.

    The API server takes a moment to notice that it may trust the webhook, and longer on a machine that is busy.
    """
    until(lambda: "created" in running.kube.apply(one("undisturbed").raw()), why="a mirror is taken", seconds=60)
    until(lambda: complete(running.kube, "undisturbed"), why="and complete", seconds=60)


def launched(running: Running, name: str = "controller", **environment: str) -> str:
    """Starts a controller, and returns how the API server knows it: each has a certificate of its own."""
    running.system.start_controller(name, **environment)
    pid = running.system.processes.record(name).pid
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    kubeconfig = next(each.partition("=")[2] for each in variables if each.startswith("KUBECONFIG="))
    user = json.loads(Path(kubeconfig).read_text())["users"][0]["user"]
    return credential(Path(user["client-certificate"]))
