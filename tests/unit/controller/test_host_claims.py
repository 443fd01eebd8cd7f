"""Test host claims: the oldest mirror holds a host, and affected mirrors are enqueued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.informer.cluster_cache import ClusterCache
from controller.informer.host_claims import HostClaims, image_hosts_of, masquerade_of, registry_hosts_of
from controller.model.mirror import Mirror, parse_mirror
from controller.objects import resources
from tests.support import strategies
from tests.support.controller import stored
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json


def test_older_mirror_holds_host_until_deleted() -> None:
    host_claims = HostClaims()
    assert host_claims.update("old", _claiming("x.example", 1)) == []
    assert host_claims.update("young", _claiming("x.example", 2)) == ["old"]
    assert host_claims.holder("old") is None
    assert host_claims.holder("young") == "old"
    assert host_claims.update("old", None) == ["young"]
    assert host_claims.holder("young") is None


def test_older_mirror_seen_later_takes_over() -> None:
    host_claims = HostClaims()
    host_claims.update("young", _claiming("x.example", 2))
    assert host_claims.update("old", _claiming("x.example", 1)) == ["young"]
    assert host_claims.holder("young") == "old"


def test_uid_breaks_ties_of_age() -> None:
    host_claims = HostClaims()
    host_claims.update("a", _claiming("x.example", 1, uid="2"))
    host_claims.update("b", _claiming("x.example", 1, uid="1"))
    assert host_claims.holder("a") == "b"
    assert host_claims.holder("b") is None


def test_recreated_mirror_loses_host_to_rival() -> None:
    """A list after a lost watch has the new mirror without a deletion before it."""
    host_claims = HostClaims()
    host_claims.update("a", _claiming("x.example", 1))
    host_claims.update("b", _claiming("x.example", 2))
    assert host_claims.update("a", _claiming("x.example", 3)) == ["b"]
    assert host_claims.holder("b") is None
    assert host_claims.holder("a") == "b"


def test_unchanged_or_unknown_mirror_has_no_rival() -> None:
    host_claims = HostClaims()
    host_claims.update("a", _claiming("x.example", 1))
    host_claims.update("b", _claiming("x.example", 2))
    assert host_claims.update("a", _claiming("x.example", 1)) == []
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
def test_masquerade_of_any_spec(spec: Any, name: str | None) -> None:
    """Objects stored before there was a schema have any shape."""
    assert masquerade_of({"spec": spec}) == name


@given(strategies.damaged_mirrors())
def test_damaged_mirror_raises_no_exception(obj: Any) -> None:
    masquerade_of(obj)
    image_hosts_of(obj)
    registry_hosts_of(obj)


@given(strategies.mirrors())
def test_claims_match_the_parsed_mirror(builder: MirrorBuilder) -> None:
    mirror = parse_mirror(stored(builder), ())
    assert isinstance(mirror, Mirror)
    assert masquerade_of(stored(builder)) == mirror.masquerade
    assert image_hosts_of(stored(builder)) == tuple(each.upstream.image_host for each in mirror.sources)


@pytest.mark.parametrize(
    ("one", "other"),
    [("quay.io", "http://Quay.io/"), ("docker.io", "registry-1.docker.io"), ("hub.docker.com", "http://docker.io")],
)
def test_spellings_of_one_registry_claim_same_images(one: str, other: str) -> None:
    assert image_hosts_of(stored(a_mirror().of(one))) == image_hosts_of(stored(a_mirror().of(other)))


def test_registries_on_two_ports_differ() -> None:
    assert image_hosts_of(stored(a_mirror().of("quay.io"))) != image_hosts_of(stored(a_mirror().of("quay.io:5000")))


def test_older_mirror_of_upstream_holds_images() -> None:
    state, enqueued = _state()
    state.mirrors.put(_of("quay.io", "old", "old.example", 1, version=1))
    state.mirrors.put(_of("quay.io", "young", "young.example", 2, version=2))
    assert (_holder(state, "old"), _holder(state, "young")) == (None, "old")
    leaving = _of("quay.io", "old", "old.example", 1, version=3)
    leaving["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"
    state.mirrors.put(leaving)
    assert _holder(state, "young") == "old"  # its agents still clean the nodes
    enqueued.clear()
    state.mirrors.remove("old", 4)
    assert _holder(state, "young") is None
    assert "young" in enqueued


def test_each_image_host_has_its_holder() -> None:
    """Additional upstreams count like the first one, host by host."""
    state, enqueued = _state()
    hub = "docker.io"
    state.mirrors.put(_of("quay.io", "old", "old.example", 1, hub, version=1))
    state.mirrors.put(_of("ghcr.io", "middle", "middle.example", 2, "gcr.io", version=2))
    enqueued.clear()
    state.mirrors.put(_of("gcr.io", "young", "young.example", 3, "quay.io", "hub.docker.com", "k8s.io", version=3))
    assert set(enqueued) == {"young", "old", "middle"}
    assert state.images_holders("old") == state.images_holders("middle") == {}
    assert state.images_holders("young") == {"gcr.io": "middle", "quay.io": "old", hub: "old"}
    enqueued.clear()
    state.mirrors.put(_of("quay.io", "old", "old.example", 1, version=4))
    assert set(enqueued) == {"old", "young"}
    assert state.images_holders("young") == {"gcr.io": "middle", "quay.io": "old"}
    enqueued.clear()
    state.mirrors.remove("middle", 5)
    assert set(enqueued) == {"middle", "young"}
    assert state.images_holders("young") == {"quay.io": "old"}


def test_mirror_without_host_holds_no_images() -> None:
    state, enqueued = _state()
    state.mirrors.put(_of("ghcr.io", "first", "x.example", 1, version=1))
    state.mirrors.put(_of("quay.io", "shadowed", "x.example", 2, version=2))
    state.mirrors.put(_of("quay.io", "young", "young.example", 3, version=3))
    assert _holder(state, "young") is None
    enqueued.clear()
    state.mirrors.put(_of("ghcr.io", "first", "y.example", 1, version=4))
    assert _holder(state, "young") == "shadowed"
    assert {"shadowed", "young"} <= set(enqueued)
    enqueued.clear()
    state.mirrors.put(_of("quay.io", "shadowed", "y.example", 2, version=5))
    assert _holder(state, "young") is None
    assert "young" in enqueued


@pytest.mark.parametrize("registry", ["reg.corp.test", "http://reg.corp.test", "reg.corp.test:5000"])
@pytest.mark.parametrize("second", [1, 3], ids=["older", "younger"])
def test_registry_of_a_mirror_is_no_masquerade(registry: str, second: int) -> None:
    """K2: the name belongs to the registry, whichever mirror is older. Each change requeues the other mirror."""
    state, enqueued = _state()
    state.mirrors.put(_of("quay.io", "b", "reg.corp.test", 2, version=1))
    state.mirrors.put(_of("quay.io", "c", "c.example", 4, version=2))
    assert (state.masquerade_holder("b"), state.registry_holder("b"), _holder(state, "c")) == (None, None, "b")
    enqueued.clear()
    state.mirrors.put(_of("ghcr.io", "a", "a.example", second, registry, version=3))
    assert set(enqueued) == {"a", "b", "c"}
    assert (state.masquerade_holder("b"), state.registry_holder("b"), _holder(state, "c")) == ("a", "a", None)
    assert state.masquerade_holder("a") is None
    enqueued.clear()
    state.mirrors.put(_of("ghcr.io", "a", "a.example", second, registry, version=4))
    assert enqueued == ["a"], "nothing changed for the others"
    state.mirrors.put(_of("ghcr.io", "a", "a.example", second, version=5))
    assert set(enqueued) == {"a", "b", "c"}
    assert (state.masquerade_holder("b"), _holder(state, "c")) == (None, "b")


def test_mirror_may_have_the_name_of_its_registry() -> None:
    """It serves what other mirrors of this registry expect under the name, and nothing at another port."""
    state, enqueued = _state()
    state.mirrors.put(_of("ghcr.io", "elsewhere", "reg.corp.test", 1, version=1))
    state.mirrors.put(_of("reg.corp.test", "plain", "plain.example", 2, version=2))
    state.mirrors.put(_of("reg.corp.test", "same", "reg.corp.test", 3, version=3))
    state.mirrors.put(_of("reg.corp.test", "young", "reg.corp.test", 4, version=4))
    holders = {name: state.masquerade_holder(name) for name in state.mirrors}
    assert holders == {"elsewhere": "plain", "plain": None, "same": None, "young": "same"}
    assert state.registry_holder("young") is None
    enqueued.clear()
    state.mirrors.put(_of("reg.corp.test:5000", "port", "port.example", 5, version=5))
    assert {"same", "young"} <= set(enqueued)
    assert (state.masquerade_holder("same"), state.registry_holder("same")) == ("port", "port")


def test_invalid_mirror_claims_only_with_daemon_set() -> None:
    """The DaemonSet exists if the spec was valid before."""
    state, enqueued = _state()
    wrong = _of("quay.io", "wrong", "x.example", 1, version=1)
    wrong["spec"]["replicas"] = 0
    state.mirrors.put(wrong)
    state.mirrors.put(_of("quay.io", "right", "x.example", 2, version=2))
    assert (_holder(state, "right"), state.host_claims.holder("right")) == (None, None)
    enqueued.clear()
    owner = {"kind": "RegistryMirror", "uid": "wrong", "controller": True}
    metadata = {"name": "registry-mirror-wrong", "uid": "d", "resourceVersion": "3", "ownerReferences": [owner]}
    agents = {"kind": "DaemonSet", "metadata": metadata}
    state.children[resources.DAEMON_SET].put(agents)
    assert (_holder(state, "right"), state.host_claims.holder("right")) == ("wrong", "wrong")
    assert "right" in enqueued
    enqueued.clear()
    state.children[resources.DAEMON_SET].remove("registry-mirror-wrong", 4)
    assert (_holder(state, "right"), state.host_claims.holder("right")) == (None, None)
    assert "right" in enqueued


def _state() -> tuple[ClusterCache, list[str]]:
    enqueued: list[str] = []
    return ClusterCache(enqueued.append), enqueued


def _holder(state: ClusterCache, mirror: str) -> str | None:
    """Return the older mirror that has the images of quay.io."""
    return state.images_holders(mirror).get("quay.io")


def _of(upstream: str, name: str, masquerade: str, second: int, *additional: str, version: int) -> Json:
    builder = a_mirror().named(name).of(upstream).also_of(*additional).known_as(masquerade)
    obj = stored(builder, created=f"2026-01-01T00:00:0{second}Z")
    obj["metadata"] |= {"uid": name, "resourceVersion": str(version)}
    return obj


class AnyChanges(RuleBasedStateMachine):
    """Compare the claims with a model that compares all mirrors."""

    def __init__(self) -> None:
        super().__init__()
        self.host_claims = HostClaims()
        self.mirrors: dict[str, tuple[str, int, str]] = {}

    def _holders(self) -> dict[str, str]:
        """Return the holder of each mirror's host."""
        return {
            mirror: min((age, uid, other) for other, (name, age, uid) in self.mirrors.items() if name == host)[2]
            for mirror, (host, _, _) in self.mirrors.items()
        }

    @rule(
        mirror=st.sampled_from("abcde"),
        claims=st.sampled_from([None, "x.example", "y.example"]),
        age=st.integers(1, 3),
        gone=st.booleans(),
    )
    def change(self, mirror: str, claims: str | None, age: int, *, gone: bool) -> None:
        """Create, change, recreate or delete a mirror."""
        before = self._holders()
        if gone or claims is None:
            self.mirrors.pop(mirror, None)
            obj = None if gone else stored(a_mirror().without("spec"))
        else:
            self.mirrors[mirror] = claims, age, mirror
            obj = _claiming(claims, age, uid=mirror)
        affected = self.host_claims.update(mirror, obj)
        after = self._holders()
        moved = {name for name in before.keys() & after.keys() if before[name] != after[name]} - {mirror}
        assert moved <= set(affected)
        assert mirror not in affected

    @invariant()
    def oldest_holds_the_host_and_nothing_else_is_stored(self) -> None:
        """Compare holders and stored claims."""
        for mirror, holder in self._holders().items():
            assert self.host_claims.holder(mirror) == (None if holder == mirror else holder)
        assert self.host_claims._hosts == {mirror: (host,) for mirror, (host, _, _) in self.mirrors.items()}
        assert self.host_claims._claimants.keys() == {host for host, _, _ in self.mirrors.values()}


TestAnyChanges = AnyChanges.TestCase
TestAnyChanges.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def _claiming(name: str, second: int, uid: str = "uid") -> Json:
    return stored(a_mirror().known_as(name), uid=uid, created=f"2026-01-01T00:00:0{second}Z")
