"""Test which nodes pulled, by the addresses of clients and agents."""

from __future__ import annotations

import orjson
import pytest

from cache.clients import DAY, REMEMBERED, SHARED, Clients
from controller.caches.cache_status import PodReport, parse_report, pulling_nodes
from controller.pod_http import ANSWER_MAX


@pytest.fixture
def clients() -> Clients:
    return Clients()


def pulling(*of: Clients, now: float = 0.0) -> int | None:
    """Return what the controller makes of the reports of these pods."""
    reports = [parse_report({"clients": each.report(now)}) for each in of]
    return pulling_nodes([each for each in reports if each is not None])


def test_node_that_pulled_counts(clients: Clients) -> None:
    """An agent that only probes does not count."""
    assert pulling(clients) == 0
    clients.note_agent("10.0.0.1", "node-1", 0.0)
    clients.note_agent("10.0.0.2", "node-2", 0.0)
    assert pulling(clients) == 0
    clients.note_pull("10.0.0.1", 1.0)
    assert pulling(clients, now=1.0) == 1


def test_pull_counts_for_a_day(clients: Clients) -> None:
    clients.note_agent("10.0.0.1", "node-1", 0.0)
    clients.note_pull("10.0.0.1", 0.0)
    assert pulling(clients, now=DAY) == 1
    assert pulling(clients, now=DAY + 1) == 0


def test_node_counts_once_for_all_pods_and_addresses(clients: Clients) -> None:
    other = Clients()
    for each, address in ((clients, "10.0.0.1"), (clients, "fd00::1"), (other, "10.0.0.1")):
        each.note_agent(address, "node-1", 0.0)
        each.note_pull(address, 0.0)
    assert pulling(clients, other) == 1


def test_shared_address_gives_no_number(clients: Clients) -> None:
    """Source NAT leads the requests of two nodes to one address."""
    for node in ("node-1", "node-2", "node-3"):
        clients.note_agent("10.0.0.1", node, 0.0)
    clients.note_agent("10.0.0.9", "node-9", 0.0)
    clients.note_pull("10.0.0.9", 0.0)
    assert pulling(clients) == 1
    clients.note_pull("10.0.0.1", 0.0)
    assert pulling(clients) is None
    assert pulling(clients, Clients()) is None


def test_clients_without_agent_give_no_number(clients: Clients) -> None:
    """The original agent sends no probes. A client in a pod does not hide the nodes that are known."""
    clients.note_pull("10.244.0.7", 0.0)
    assert pulling(clients) is None
    clients.note_agent("10.0.0.1", "node-1", 0.0)
    clients.note_pull("10.0.0.1", 0.0)
    assert pulling(clients) == 1


def test_address_of_another_node_starts_again(clients: Clients) -> None:
    """The pulls of the former node are not those of the new one."""
    clients.note_agent("10.0.0.1", "node-1", 0.0)
    clients.note_pull("10.0.0.1", 0.0)
    clients.note_agent("10.0.0.1", "node-2", SHARED)
    assert pulling(clients, now=SHARED) == 0
    clients.note_pull("10.0.0.1", SHARED)
    assert pulling(clients, now=SHARED) == 1


@pytest.mark.parametrize("node", ["", "A", "../x", "x" * 254, "é", "a\nb"])
def test_wrong_name_of_a_node_is_ignored(clients: Clients, node: str) -> None:
    clients.note_agent("10.0.0.1", node, 0.0)
    clients.note_pull("10.0.0.1", 0.0)
    assert pulling(clients) is None


def test_report_of_many_nodes_fits_an_answer(clients: Clients) -> None:
    """The least recent clients go first."""
    for number in range(2 * REMEMBERED):
        clients.note_agent(f"address-{number}", f"node-{number}", 0.0)
        clients.note_pull(f"address-{number}", float(number))
    assert pulling(clients, now=2.0 * REMEMBERED) == pytest.approx(REMEMBERED, abs=5)  # hashes may be equal
    assert len(orjson.dumps(clients.report(2.0 * REMEMBERED))) < ANSWER_MAX * 0.7


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ({"writeError": "", "crowded": False}, ""),
        ({"writeError": "Read-only file system"}, "The volume cannot be written: Read-only file system."),
        ({"crowded": True}, "The volume is full of files that the cache did not store."),
        ({"writeError": 1, "crowded": "x"}, ""),
        (None, ""),
    ],
)
def test_volume_problem_is_a_sentence(space: object, problem: str) -> None:
    """K4: the condition repeats it."""
    report = parse_report({"clients": {"nodes": []}, "space": space})
    assert report is not None
    assert report.volume_problem == problem


@pytest.mark.parametrize("status", [None, [], {}, {"clients": None}, {"clients": []}, {"clients": {"nodes": 1}}])
def test_foreign_status_has_no_clients(status: object) -> None:
    assert parse_report(status) is None
    assert parse_report({"clients": {"nodes": [1, {}, "a"], "shared": "x"}}) == PodReport(
        frozenset("a"), shares_addresses=True
    )
