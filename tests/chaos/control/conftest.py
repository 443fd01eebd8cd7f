"""Start one cluster with the system per file of tests."""

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
# Seconds for one test. Most take a minute; the random operations take CHAOS_MINUTES.
LONGEST = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raise the time limit of these tests."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Making]:
    """Return a maker of clusters for a file, without a scheduler, whose Events would be writes."""
    with clusters(request, tmp_path_factory, scheduler=False) as make:
        yield make


@pytest.fixture(scope="module")
def running(ground: Making) -> Running:
    """Return a cluster with webhook and controller."""
    running = ground()
    running.system.start()
    until_served(running)
    return running


def until_served(running: Running) -> None:
    """Create a mirror called `undisturbed` and wait until it is complete.

    The API server takes a moment to trust the webhook, longer on a busy machine.
    """
    until(lambda: "created" in running.kube.apply(one("undisturbed").raw()), why="a mirror is accepted", seconds=60)
    until(lambda: complete(running.kube, "undisturbed"), why="it is complete", seconds=60)


def launched(running: Running, name: str = "controller", **environment: str) -> str:
    """Start a controller and return the credential of its certificate, as the audit log names it."""
    running.system.start_controller(name, **environment)
    pid = running.system.processes.record(name).pid
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    kubeconfig = next(each.partition("=")[2] for each in variables if each.startswith("KUBECONFIG="))
    user = json.loads(Path(kubeconfig).read_text())["users"][0]["user"]
    return credential(Path(user["client-certificate"]))
