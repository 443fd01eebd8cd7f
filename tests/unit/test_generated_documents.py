"""Test that the documents agree with the code that they describe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cache.metrics import Metrics
from common.agent_protocol import State
from common.metrics import new_registry
from controller.informer.cluster_cache import ClusterCache
from controller.metrics import Metrics as ControllerMetrics
from controller.state_collector import StateCollector
from controller.workqueue.workers import KeyQueue
from docs.generate import DOCUMENTS, FOLDER
from hostess.metrics import Probes, text_of
from hostess.node_state import NodeState
from webhook.metrics import Metrics as WebhookMetrics

TESTS = FOLDER.parent / "tests"

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_equals_generator_output(name: str) -> None:
    assert (FOLDER / name).read_text() == DOCUMENTS[name](), "run `python -m docs.generate`"


def test_tests_of_public_faults_exist() -> None:
    """Each kind names its tests in the documents."""
    section = (FOLDER / "development.md").read_text().partition("\n## Public faults\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if re.match(r"\| K\d", line)]
    defined = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert [row.split()[1] for row in rows] == [f"K{number}" for number in range(1, 12)]
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= defined, set(named) - defined


def names_in(registry: CollectorRegistry) -> set[str]:
    """Return the names of our metrics."""
    suffixes = {"counter": "_total", "info": "_info"}
    found = {family.name + suffixes.get(family.type, "") for family in registry.collect()}
    return {name for name in found if name.startswith("registrymirror_")}


def test_metrics_of_other_programs_are_documented() -> None:
    keys, controller, webhook = KeyQueue(), ControllerMetrics(new_registry()), new_registry()
    controller.registry.register(StateCollector(ClusterCache(keys.enqueue), keys.queue, lambda: True))
    WebhookMetrics(webhook, lambda: 0.0)
    agent = text_of(NodeState(State.PENDING, "Why", "A sentence."), Probes(), uses_mirror=True)
    exposed = {*names_in(controller.registry), *names_in(webhook), *re.findall(r"^# TYPE (\w+)", agent, re.MULTILINE)}
    documented = set(re.findall(r"registrymirror_\w+", (FOLDER / "monitoring.md").read_text()))
    assert exposed <= documented


def test_metrics_of_the_cache_are_documented() -> None:
    section = (FOLDER / "cache.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    exposed = names_in(Metrics().registry)
    documented = {f"registrymirror_cache_{name}" for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {name for name in exposed if name.startswith("registrymirror_cache_")}
