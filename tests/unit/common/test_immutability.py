"""Check which fields of a stored mirror can change."""

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
SHRINKING = "volumes cannot shrink, and 40Gi is granted (status.storage); request at least that much"
FIX = "cannot change after creation; create another mirror, or delete this one and create it again (its cache is lost)"


def _refused(mirror: MirrorBuilder, old: MirrorBuilder) -> list[str]:
    """Return the paths of all errors of an update. Assert that defaulting does not change them."""
    sent = [error.path for error in validate(mirror.raw(), old.raw())]
    stored = [error.path for error in validate(with_defaults(mirror.raw(), old.raw()), old.raw())]
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
def test_immutable_field_is_refused(path: str, before: Any, after: Any) -> None:
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
def test_mutable_field_and_equal_value_are_allowed(path: str, before: Any, after: Any) -> None:
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
def test_storage_shrinks_to_granted_size_only(was: Any, granted: Any, wanted: Any, refused: bool) -> None:  # noqa: FBT001 (a column of the table)
    old = a_mirror().having(STORAGE, was).having("status.storage", granted)
    assert _refused(a_mirror().having(STORAGE, wanted), old) == ([STORAGE] if refused else [])


def test_message_has_reason_and_fix() -> None:
    old = a_mirror().storing("50Gi").on_class("slow").granted("40Gi")
    new = a_mirror().storing("30Gi").on_class("fast")
    assert [str(error) for error in validate(new.raw(), old.raw())] == [
        f"{CLAIM}.storageClassName: Forbidden: {FIX}",
        f"{STORAGE}: Forbidden: {SHRINKING}",
    ]


@given(strategies.mirrors())
def test_unchanged_mirror_is_allowed(mirror: MirrorBuilder) -> None:
    """Compare the sent and the stored form with each other."""
    stored = MirrorBuilder(with_defaults(mirror.raw()))
    assert _refused(mirror, mirror) == _refused(mirror, stored) == _refused(stored, mirror) == []


@given(strategies.mirrors(), strategies.mirrors())
def test_only_claim_fields_are_refused(one: MirrorBuilder, other: MirrorBuilder) -> None:
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
def test_invalid_stored_mirror_can_be_corrected(stored: MirrorBuilder) -> None:
    """The controller creates no objects for invalid fields, so these fields can change."""
    assert validate(a_mirror().raw(), stored.raw()) == []


def test_other_error_does_not_hide_refused_change() -> None:
    old = a_mirror().on_class("slow").storing("20Gi").granted("20Gi")
    new = a_mirror().on_class("fast").storing("ten").replicated(0).having(f"{CLAIM}.accessModes", ["RWO"])
    assert sorted(error.path for error in validate(new.raw(), old.raw())) == [
        "spec.replicas",
        f"{CLAIM}.accessModes[0]",
        STORAGE,
        f"{CLAIM}.storageClassName",
    ]
