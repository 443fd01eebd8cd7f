"""Which cache pods an agent asks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostess.health.replica_rotation import EVERY, ReplicaRotation
from hostess.kube.mirror_endpoints import Endpoint

PODS = st.lists(st.integers(0, 255), min_size=2, max_size=10, unique=True).map(
    lambda numbers: tuple(Endpoint(f"10.0.0.{number}", 5000) for number in numbers)
)


@given(PODS, st.integers(0, 5))
def test_each_pod_has_its_turn_once_a_round(pods: tuple[Endpoint, ...], before: int) -> None:
    turns = ReplicaRotation()
    for _ in range(before):
        turns.of(pods, doubtful=False)
    asked = [pod for _ in range(EVERY) for pod in turns.of(pods, doubtful=False)]
    assert sorted(asked) == sorted(pods)


@given(PODS)
def test_all_are_asked_while_it_is_doubtful_how_the_mirror_stands(pods: tuple[Endpoint, ...]) -> None:
    assert ReplicaRotation().of(pods, doubtful=True) == pods


def test_one_alone_is_not_asked_beside_the_service() -> None:
    assert not ReplicaRotation().of((Endpoint("10.0.0.1", 5000),), doubtful=True)
    assert not ReplicaRotation().of((), doubtful=False)
