"""Check that names are valid in Kubernetes and distinct for all mirrors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import names
from tests.support import strategies

MAX_LENGTH = "x" * names.NAME_MAX


def _services(mirror: str) -> set[str]:
    return {names.object_name(mirror), names.headless_name(mirror)}


@given(strategies.mirror_names(), strategies.mirror_names())
def test_mirrors_have_distinct_services(one: str, other: str) -> None:
    assert one == other or not _services(one) & _services(other)


def test_headless_suffix_is_refused() -> None:
    assert names.headless_name("docker") == names.object_name("docker-headless")
    assert not names.is_mirror_name("docker-headless")


@given(strategies.mirror_names(), st.integers(0, 9), strategies.mirror_names(), st.integers(0, 9))
def test_cache_pods_have_distinct_claims(one: str, ordinal: int, other: str, other_ordinal: int) -> None:
    same = names.claim_name(one, ordinal) == names.claim_name(other, other_ordinal)
    assert same == ((one, ordinal) == (other, other_ordinal))


@given(strategies.mirror_names())
def test_object_names_are_within_limits(mirror: str) -> None:
    assert len(names.object_name(mirror)) <= names.STATEFUL_SET_NAME_MAX
    assert all(names.is_dns_label(name) for name in _services(mirror))
    assert names.is_dns_label(f"{names.object_name(mirror)}-0123456789")  # the label with the revision of its pods
    assert names.is_object_name(names.claim_name(mirror, 9))
    assert all(names.is_dns_name(host) for host in names.service_hosts(mirror, "x" * 63))


@pytest.mark.parametrize(
    ("text", "may"),
    [
        *((text, True) for text in ("a", "0", "docker", "a-b", "a--b", "9a", "headless", "xn--a", MAX_LENGTH)),
        *((text, False) for text in ("", "A", "a.b", "a_b", "-a", "a-", "a b", "ä", "٣", "a\n", f"{MAX_LENGTH}x")),
    ],
)
def test_mirror_name_is_short_dns_label(text: str, may: bool) -> None:  # noqa: FBT001 (a column of the table)
    assert names.is_mirror_name(text) is may


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *((text, True) for text in ("a", "a.b", "1.a", "a.1a", "x" * 63, ".".join(["x" * 49] * 5))),
        *((text, False) for text in ("", ".", "a.", ".a", "a..b", "A", "a.1", "1.2.3.4", "x" * 64, "a_b", "٣.a")),
        (".".join(["x" * 50] * 5), False),
    ],
)
def test_dns_name_is_not_an_address(text: str, is_one: bool) -> None:  # noqa: FBT001
    assert names.is_dns_name(text) is is_one


def test_object_name_may_be_long() -> None:
    assert all(map(names.is_object_name, ["x" * 64, "x" * 253, "1.2", "a.b"]))
    assert not any(map(names.is_object_name, ["", "x" * 254, "a..b", "A", "a_b", "a.", "-a", "a\n"]))


@given(strategies.hosts())
def test_default_masquerade_is_dns_name(host: str) -> None:
    default = names.default_masquerade(host)
    assert names.is_dns_name(default)
    assert "." in default


@given(strategies.hosts(), strategies.hosts())
def test_default_masquerades_are_distinct(one: str, other: str) -> None:
    assert (names.default_masquerade(one) == names.default_masquerade(other)) == (one == other)


@pytest.mark.parametrize(
    ("host", "masquerade"),
    [
        ("quay.io", "mirror-quay.io"),
        ("x" * 56 + ".io", f"mirror-{'x' * 56}.io"),
        ("x" * 57, "mirror--ae14a2563ccf.internal"),
        ("10.0.0.1", "mirror--f5047344122f.internal"),
        ("2001:db8::1", "mirror--5afd19e856d1.internal"),
    ],
)
def test_default_masquerade_is_stable(host: str, masquerade: str) -> None:
    """The hashes are literal here, because nodes would lose a mirror if its name changed."""
    assert names.default_masquerade(host) == masquerade


@given(strategies.mirror_names(), st.sampled_from([names.REGISTRY, names.HOSTESS]))
def test_labels_identify_mirror(mirror: str, component: str) -> None:
    assert names.mirror_of(names.pod_labels(mirror, component)) == mirror


@pytest.mark.parametrize("labels", [{}, {"mirror": "docker"}, {"mirror": "docker", "app": "other"}])
def test_other_labels_have_no_mirror(labels: dict[str, str]) -> None:
    assert names.mirror_of(labels) is None
