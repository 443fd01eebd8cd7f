"""Of mirrors that want one host name the oldest has it, and every change of that is told to whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.informer.cluster_cache import ClusterCache
from controller.informer.host_claims import HostClaims, image_host_of, masquerade_of
from controller.model.mirror import Mirror, parse_mirror
from controller.objects import resources
from tests.support import strategies
from tests.support.controller import stored
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json


def test_the_older_mirror_keeps_the_name_and_the_younger_gets_it_when_the_older_goes() -> None:
    host_claims = HostClaims()
    assert host_claims.update("old", _wanting("x.example", 1)) == []
    assert host_claims.update("young", _wanting("x.example", 2)) == ["old"]
    assert host_claims.holder("old") is None
    assert host_claims.holder("young") == "old"
    assert host_claims.update("old", None) == ["young"]
    assert host_claims.holder("young") is None


def test_an_older_mirror_that_is_seen_later_takes_the_name_over() -> None:
    host_claims = HostClaims()
    host_claims.update("young", _wanting("x.example", 2))
    assert host_claims.update("old", _wanting("x.example", 1)) == ["young"]
    assert host_claims.holder("young") == "old"


def test_mirrors_of_one_second_are_told_apart_by_their_uid() -> None:
    host_claims = HostClaims()
    host_claims.update("a", _wanting("x.example", 1, uid="2"))
    host_claims.update("b", _wanting("x.example", 1, uid="1"))
    assert host_claims.holder("a") == "b"
    assert host_claims.holder("b") is None


def test_a_mirror_made_again_while_nobody_watched_gives_its_name_to_the_rival() -> None:
    """A list after a lost watch brings the new mirror under the old name, without a deletion in between."""
    host_claims = HostClaims()
    host_claims.update("a", _wanting("x.example", 1))
    host_claims.update("b", _wanting("x.example", 2))
    assert host_claims.update("a", _wanting("x.example", 3)) == ["b"]
    assert host_claims.holder("b") is None
    assert host_claims.holder("a") == "b"


def test_a_change_that_is_none_concerns_nobody() -> None:
    host_claims = HostClaims()
    host_claims.update("a", _wanting("x.example", 1))
    host_claims.update("b", _wanting("x.example", 2))
    assert host_claims.update("a", _wanting("x.example", 1)) == []


def test_an_unknown_mirror_has_no_rival() -> None:
    host_claims = HostClaims()
    host_claims.update("a", _wanting("x.example", 1))
    assert host_claims.holder("unknown") is None


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"masqueradeUrl": "local.docker.io", "upstreamUrl": "quay.io"}, "local.docker.io"),
        ({"upstreamUrl": "https://quay.io"}, "mirror-quay.io"),
        ({"masqueradeUrl": None, "upstreamUrl": "quay.io"}, "mirror-quay.io"),
        ({"upstreamUrl": "docker.io"}, "mirror-docker.io"),
        *(
            ({"upstreamUrl": value}, None)
            for value in (None, 5, [], ["quay.io"], {}, {"a": 1}, "", "a b", "ftp://x", True)
        ),
        *(({"masqueradeUrl": value, "upstreamUrl": "quay.io"}, None) for value in ("",)),
        *(({"masqueradeUrl": value}, None) for value in (5, ["a"], {"a": 1})),
        ({}, None),
        (None, None),
        ("text", None),
    ],
)
def test_a_mirror_of_any_shape_says_which_name_it_wants_or_none(spec: Any, name: str | None) -> None:
    """Objects stored before there was a schema hold anything."""
    assert masquerade_of({"spec": spec}) == name


@given(strategies.damaged_mirrors())
def test_no_mirror_ends_in_an_exception(raw: Any) -> None:
    masquerade_of(raw)


@given(strategies.mirrors())
def test_the_name_is_the_one_that_the_nodes_will_be_told(builder: MirrorBuilder) -> None:
    mirror = parse_mirror(stored(builder), ())
    assert isinstance(mirror, Mirror)
    assert masquerade_of(stored(builder)) == mirror.masquerade


@given(strategies.damaged_mirrors())
def test_no_mirror_ends_in_an_exception_when_its_images_are_asked_for(raw: Any) -> None:
    image_host_of(raw)


@given(strategies.mirrors())
def test_the_images_are_those_that_the_nodes_will_be_told(builder: MirrorBuilder) -> None:
    mirror = parse_mirror(stored(builder), ())
    assert isinstance(mirror, Mirror)
    assert image_host_of(stored(builder)) == mirror.upstream.image_host


@pytest.mark.parametrize(
    ("one", "other"),
    [("quay.io", "http://Quay.io/"), ("docker.io", "registry-1.docker.io"), ("hub.docker.com", "http://docker.io")],
)
def test_two_mirrors_of_one_registry_want_the_same_images_however_it_is_written(one: str, other: str) -> None:
    assert image_host_of(stored(a_mirror().of(one))) == image_host_of(stored(a_mirror().of(other)))


def test_registries_on_two_ports_have_images_of_their_own() -> None:
    assert image_host_of(stored(a_mirror().of("quay.io"))) != image_host_of(stored(a_mirror().of("quay.io:5000")))


def test_of_two_mirrors_of_one_upstream_the_older_has_the_images_as_long_as_it_is_there() -> None:
    state, told = _state()
    state.mirrors.put(_of("quay.io", "old", "old.example", 1, version=1))
    state.mirrors.put(_of("quay.io", "young", "young.example", 2, version=2))
    assert (state.images_holder("old"), state.images_holder("young")) == (None, "old")
    leaving = _of("quay.io", "old", "old.example", 1, version=3)
    leaving["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"
    state.mirrors.put(leaving)
    assert state.images_holder("young") == "old"  # its agents still take it off the nodes
    told.clear()
    state.mirrors.remove("old", 4)
    assert state.images_holder("young") is None
    assert "young" in told


def test_a_mirror_that_no_node_reaches_holds_no_images_and_whoever_gets_them_is_told() -> None:
    state, told = _state()
    state.mirrors.put(_of("ghcr.io", "first", "x.example", 1, version=1))
    state.mirrors.put(_of("quay.io", "shadowed", "x.example", 2, version=2))
    state.mirrors.put(_of("quay.io", "young", "young.example", 3, version=3))
    assert state.images_holder("young") is None
    told.clear()
    state.mirrors.put(_of("ghcr.io", "first", "y.example", 1, version=4))
    assert state.images_holder("young") == "shadowed"
    assert {"shadowed", "young"} <= set(told)
    told.clear()
    state.mirrors.put(_of("quay.io", "shadowed", "y.example", 2, version=5))  # by its own change this time
    assert state.images_holder("young") is None
    assert "young" in told


def test_a_mirror_that_was_never_built_holds_nothing_and_one_that_was_goes_on_to() -> None:
    """Its spec is wrong, so that nodes know nothing of it: unless its agents are there from when it was right."""
    state, told = _state()
    wrong = _of("quay.io", "wrong", "x.example", 1, version=1)
    wrong["spec"]["replicas"] = 0
    state.mirrors.put(wrong)
    state.mirrors.put(_of("quay.io", "right", "x.example", 2, version=2))
    assert (state.images_holder("right"), state.host_claims.holder("right")) == (None, None)
    told.clear()
    owner = {"kind": "RegistryMirror", "uid": "wrong", "controller": True}
    metadata = {"name": "registry-mirror-wrong", "uid": "d", "resourceVersion": "3", "ownerReferences": [owner]}
    agents = {"kind": "DaemonSet", "metadata": metadata}
    state.children[resources.DAEMON_SET].put(agents)
    assert (state.images_holder("right"), state.host_claims.holder("right")) == ("wrong", "wrong")
    assert "right" in told
    told.clear()
    state.children[resources.DAEMON_SET].remove("registry-mirror-wrong", 4)
    assert (state.images_holder("right"), state.host_claims.holder("right")) == (None, None)
    assert "right" in told


def _state() -> tuple[ClusterCache, list[str]]:
    told: list[str] = []
    return ClusterCache(told.append), told


def _of(upstream: str, name: str, masquerade: str, second: int, *, version: int) -> Json:
    raw = stored(a_mirror().named(name).of(upstream).known_as(masquerade), created=f"2026-01-01T00:00:0{second}Z")
    raw["metadata"] |= {"uid": name, "resourceVersion": str(version)}
    return raw


class AnyChanges(RuleBasedStateMachine):
    """Precedence beside a model that compares everybody with everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.host_claims = HostClaims()
        self.mirrors: dict[str, tuple[str, int, str]] = {}

    def _holders(self) -> dict[str, str]:
        """Who has the name that each mirror wants."""
        return {
            mirror: min((age, uid, other) for other, (name, age, uid) in self.mirrors.items() if name == wanted)[2]
            for mirror, (wanted, _, _) in self.mirrors.items()
        }

    @rule(
        mirror=st.sampled_from("abcde"),
        wants=st.sampled_from([None, "x.example", "y.example"]),
        age=st.integers(1, 3),
        gone=st.booleans(),
    )
    def change(self, mirror: str, wants: str | None, age: int, *, gone: bool) -> None:
        """A mirror is made, changed, made again, or deleted; whose holder changed is told of it."""
        before = self._holders()
        if gone or wants is None:
            self.mirrors.pop(mirror, None)
            raw = None if gone else stored(a_mirror().without("spec"))
        else:
            self.mirrors[mirror] = wants, age, mirror
            raw = _wanting(wants, age, uid=mirror)
        told = self.host_claims.update(mirror, raw)
        after = self._holders()
        concerned = {name for name in before.keys() & after.keys() if before[name] != after[name]} - {mirror}
        assert concerned <= set(told)
        assert mirror not in told

    @invariant()
    def the_oldest_has_the_name_and_nothing_else_is_remembered(self) -> None:
        """The property."""
        for mirror, holder in self._holders().items():
            assert self.host_claims.holder(mirror) == (None if holder == mirror else holder)
        assert self.host_claims._wanted == {mirror: wanted for mirror, (wanted, _, _) in self.mirrors.items()}
        assert self.host_claims._claimants.keys() == {wanted for wanted, _, _ in self.mirrors.values()}


TestAnyChanges = AnyChanges.TestCase
TestAnyChanges.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def _wanting(name: str, second: int, uid: str = "uid") -> Json:
    return stored(a_mirror().known_as(name), uid=uid, created=f"2026-01-01T00:00:0{second}Z")
