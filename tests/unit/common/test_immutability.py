"""What may not change once a mirror exists, and all that may."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from common.defaults import with_defaults
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

METADATA = "spec.volumeClaimTemplate.metadata"
STORAGE = f"{CLAIM}.resources.requests.storage"
LIMIT = f"{CLAIM}.resources.limits.storage"
SHRINKING = "volumes do not shrink, and 40Gi were granted (status.storage): ask for at least as much"
WAY_OUT = "cannot change once created; make another mirror, or delete this one and create it again (it is a cache)"


def _refused(mirror: MirrorBuilder, old: MirrorBuilder) -> list[str]:
    """Paths of all problems of an update, first as it is sent, then as it is stored with its defaults."""
    sent = [problem.path for problem in validate(mirror.raw(), old.raw())]
    stored = [problem.path for problem in validate(with_defaults(mirror.raw(), old.raw()), old.raw())]
    assert sent == stored
    return sent


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        (f"{METADATA}.labels", None, {"a": "b"}),
        (f"{METADATA}.labels", {"a": "b"}, {"a": "c"}),
        (f"{METADATA}.annotations", {"a": "b"}, None),
        (f"{CLAIM}.accessModes", ["ReadWriteOnce"], ["ReadWriteMany"]),
        (f"{CLAIM}.accessModes", None, ["ReadWriteMany"]),
        (f"{CLAIM}.accessModes", ["ReadWriteOnce", "ReadWriteMany"], ["ReadWriteOnce"]),
        (f"{CLAIM}.storageClassName", "slow", "fast"),
        (f"{CLAIM}.storageClassName", None, "fast"),
        (f"{CLAIM}.storageClassName", "slow", None),
        (f"{CLAIM}.storageClassName", None, ""),  # from the default class to none at all
        (f"{CLAIM}.storageClassName", "", None),
        (f"{CLAIM}.selector", None, {"matchLabels": {"a": "b"}}),
        (f"{CLAIM}.volumeAttributesClassName", None, "gold"),
        (f"{CLAIM}.dataSource", {"kind": "A", "name": "b"}, {"kind": "A", "name": "c"}),
        (f"{CLAIM}.dataSourceRef", None, {"kind": "A", "name": "c"}),
        (LIMIT, None, "50Gi"),
        (LIMIT, "50Gi", "60Gi"),
        (LIMIT, "50Gi", None),
    ],
)
def test_an_immutable_part_is_refused_under_its_own_path(path: str, before: Any, after: Any) -> None:
    old, new = a_mirror().having(path, before), a_mirror().having(path, after)
    kept = path.endswith("accessModes") and after is None
    assert _refused(new, old) == ([] if kept else [path])


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        (f"{METADATA}.labels", None, {}),
        (METADATA, {"annotations": {}}, None),
        (f"{CLAIM}.accessModes", ["ReadWriteMany"], None),
        (f"{CLAIM}.accessModes", ["ReadWriteMany"], []),
        (f"{CLAIM}.accessModes", None, ["ReadWriteOnce"]),
        (f"{CLAIM}.volumeMode", None, "Filesystem"),
        (f"{CLAIM}.volumeMode", "Filesystem", None),
        (f"{CLAIM}.selector", {}, None),
        (f"{CLAIM}.volumeAttributesClassName", None, ""),
        (LIMIT, "50Gi", "51200Mi"),
        (LIMIT, "2Gi", 2147483648),
        (STORAGE, "20Gi", "20480Mi"),
        (STORAGE, None, "20Gi"),
        (STORAGE, "20Gi", None),
        (STORAGE, "20Gi", "50Gi"),
        ("spec.volumeClaimTemplate.kind", None, "PersistentVolumeClaim"),
        (f"{CLAIM}.notYetInvented", 1, 2),
        (f"{METADATA}.creationTimestamp", "now", None),
        ("spec.upstreamUrl", "quay.io", "ghcr.io"),
        ("spec.replicas", 1, 10),
        ("spec.ttl", "1h", "0s"),
        ("spec.credentialsSecret", None, "other"),
        ("spec.masqueradeUrl", "a.example", None),
        ("metadata.labels", {"a": "b"}, {"c": "d"}),
    ],
)
def test_what_can_change_or_says_the_same_is_allowed(path: str, before: Any, after: Any) -> None:
    old, new = a_mirror().granted("20Gi").having(path, before), a_mirror().having(path, after)
    assert _refused(new, old) == []


@pytest.mark.parametrize(
    ("was", "granted", "wanted", "refused"),
    [
        ("20Gi", "20Gi", "19Gi", True),
        ("20Gi", "20Gi", "20000M", True),
        ("20Gi", "20Gi", "20480Mi", False),
        ("50Gi", "20Gi", "20Gi", False),  # back from a growth that the class did not allow
        ("50Gi", "20Gi", "30Gi", False),
        ("50Gi", "20Gi", "21474836479", True),
        ("10Gi", "20Gi", "10Gi", False),  # bound to a larger volume than was asked for
        ("10Gi", "20Gi", "15Gi", False),
        ("10Gi", "20Gi", "9Gi", True),
        ("20Gi", None, "1Gi", False),  # nothing was granted yet
        ("20Gi", "junk", "1Gi", False),
        ("20Gi", "20Gi", None, False),  # left out, it keeps what it was
        (None, "20Gi", "19Gi", True),  # the default was asked for
    ],
)
def test_storage_goes_down_only_to_what_was_granted(was: Any, granted: Any, wanted: Any, refused: bool) -> None:  # noqa: FBT001 (a column of the table)
    old = a_mirror().having(STORAGE, was).having("status.storage", granted)
    assert _refused(a_mirror().having(STORAGE, wanted), old) == ([STORAGE] if refused else [])


def test_the_sentences_name_the_reason_and_the_way_out() -> None:
    old = a_mirror().storing("50Gi").on_class("slow").granted("40Gi")
    new = a_mirror().storing("30Gi").on_class("fast")
    assert [str(problem) for problem in validate(new.raw(), old.raw())] == [
        f"{CLAIM}.storageClassName: Forbidden: {WAY_OUT}",
        f"{STORAGE}: Forbidden: {SHRINKING}",
    ]


@given(strategies.mirrors())
def test_leaving_a_mirror_as_it_is_is_always_allowed(mirror: MirrorBuilder) -> None:
    """As it was sent, as it was stored, and as it is sent again after it was stored."""
    stored = MirrorBuilder(with_defaults(mirror.raw()))
    assert _refused(mirror, mirror) == _refused(mirror, stored) == _refused(stored, mirror) == []


@given(strategies.mirrors(), strategies.mirrors())
def test_only_the_claim_is_ever_refused_between_two_valid_mirrors(one: MirrorBuilder, other: MirrorBuilder) -> None:
    assert all(path.startswith("spec.volumeClaimTemplate.") for path in _refused(one, other))


@pytest.mark.parametrize(
    "stored",
    [
        a_mirror().without("spec"),
        a_mirror().having("spec", None),
        a_mirror().having("spec", "junk"),
        a_mirror().without("spec.upstreamUrl"),
        a_mirror().of("https://bob:secret@quay.io/v2"),
        a_mirror().having("spec.volumeClaimTemplate", "20Gi"),
        a_mirror().having(CLAIM, []),
        a_mirror().having(f"{CLAIM}.volumeMode", "Block"),
        a_mirror().having(f"{CLAIM}.volumeName", "pv-1"),
        a_mirror().having(f"{METADATA}.name", "cache"),
        a_mirror().having(f"{CLAIM}.accessModes", ["RWO"]),
        a_mirror().having(f"{CLAIM}.accessModes", "ReadWriteOnce"),
        a_mirror().accessed("ReadOnlyMany"),
        a_mirror().having(f"{CLAIM}.storageClassName", 5),
        a_mirror().on_class("No Such Class"),
        a_mirror().with_claims_labelled({"a b": "c"}),
        a_mirror().storing("20 Gi").granted("20Gi"),
        a_mirror().having(f"{CLAIM}.resources", "20Gi"),
        a_mirror().having(f"{CLAIM}.resources.limits", {"cpu": "1"}),
        a_mirror().having("spec.deep", strategies.nested(99)),
    ],
    ids=lambda stored: str(stored.raw().get("spec"))[:60],
)
def test_an_invalid_stored_mirror_can_be_mended(stored: MirrorBuilder) -> None:
    """Objects from before the webhook: nothing was made from what was wrong in them, so nothing holds it."""
    assert validate(a_mirror().raw(), stored.raw()) == []


def test_a_mistake_elsewhere_does_not_hide_a_refused_change() -> None:
    """All problems at once, also where some are about the object and some about the change."""
    old = a_mirror().on_class("slow").storing("20Gi").granted("20Gi")
    new = a_mirror().on_class("fast").storing("ten").replicated(0).having(f"{CLAIM}.accessModes", ["RWO"])
    assert sorted(problem.path for problem in validate(new.raw(), old.raw())) == [
        "spec.replicas",
        f"{CLAIM}.accessModes[0]",
        STORAGE,
        f"{CLAIM}.storageClassName",
    ]
