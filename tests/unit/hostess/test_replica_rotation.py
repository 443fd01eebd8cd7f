"""Test the choice of cache pods to probe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostess.health.replica_rotation import EVERY, ReplicaRotation
from hostess.kube.mirror_endpoints import Endpoint

PODS = st.lists(st.integers(0, 255), min_size=2, max_size=10, unique=True).map(
    lambda numbers: tuple(Endpoint(f"10.0.0.{number}", 5000) for number in numbers)
)


@given(PODS, st.integers(0, 5))
def test_each_pod_is_probed_in_rotation(pods: tuple[Endpoint, ...], before: int) -> None:
    turns = ReplicaRotation()
    for _ in range(before):
        turns.next_pods(pods, doubtful=False)
    asked = [pod for _ in range(EVERY) for pod in turns.next_pods(pods, doubtful=False)]
    assert sorted(asked) == sorted(pods)


@given(PODS)
def test_doubt_probes_all_pods(pods: tuple[Endpoint, ...]) -> None:
    assert ReplicaRotation().next_pods(pods, doubtful=True) == pods


def test_single_pod_is_not_probed() -> None:
    assert not ReplicaRotation().next_pods((Endpoint("10.0.0.1", 5000),), doubtful=True)
    assert not ReplicaRotation().next_pods((), doubtful=False)
