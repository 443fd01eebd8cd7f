"""Responses to reviews on both paths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given

from common.defaults import with_defaults
from common.validation import validate
from tests.support import reviews, strategies
from tests.support.mirrors import CLAIM, a_mirror
from tests.support.reviews import UID, a_review, operations_of
from webhook import handlers, responses
from webhook.handlers import MalformedError

if TYPE_CHECKING:
    from common.types import Json
    from tests.support.mirrors import MirrorBuilder
    from tests.support.reviews import ReviewBuilder

EMPTY_SPEC = """\
RegistryMirror.k8s.osp.tech "docker" is invalid: spec.upstreamUrl: Required value: the registry to mirror, as a string \
host[:port]; for example "upstreamUrl: quay.io"\
"""
FIVE_MISTAKES = """\
RegistryMirror.k8s.osp.tech "docker" is invalid:
* spec.upstreamUrl: Invalid value: "quay.io/v2": must not have a path; mirror the whole host, and keep the path in \
image names, as in quay.io/path/app:1; for example "upstreamUrl: quay.io"
* spec.masqueradeUrl: Invalid value: "https://local.quay.io": must be a host name only; remove scheme, port and path; \
for example "masqueradeUrl: local.docker.io"
* spec.volumeClaimTemplate.spec.accessModes[0]: Unsupported value: "RWO": must be one of 'ReadWriteOnce', \
'ReadWriteMany', 'ReadWriteOncePod' or 'ReadOnlyMany'
* spec.replicas: Invalid value: 11: must be an integer from 1 to 10, without quotes; for example "replicas: 2"
* spec.ttl: Invalid value: "7d": is not a duration: use numbers with the units h, m, s, ms, us or ns, as in 168h or \
1h30m; days are not a unit: write 168h; for example "ttl: 168h"\
"""


def respond(builder: ReviewBuilder, path: str = "validate", domains: tuple[str, ...] = ()) -> Json:
    """Return the response to a review, as sent."""
    review = handlers.parse(builder.body())
    answer = {"validate": handlers.validate, "mutate": handlers.mutate}[path](review, domains)
    document = json.loads(responses.serialize(review.uid, answer))
    reviews.assert_well_formed(document, UID)
    response: Json = document["response"]
    return response


def five_mistakes() -> MirrorBuilder:
    return a_mirror().of("quay.io/v2").known_as("https://local.quay.io").replicated(11).keeping("7d").accessed("RWO")


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_empty_spec_is_refused_with_example(path: str) -> None:
    response = respond(a_review().creating(a_mirror().having("spec", {})), path)
    assert response["status"]["message"] == EMPTY_SPEC
    assert response["status"]["code"] == 422
    assert response["status"]["reason"] == "Invalid"
    assert response["status"]["status"] == "Failure"


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_five_mistakes_are_reported_together(path: str) -> None:
    assert respond(a_review().creating(five_mistakes()), path)["status"]["message"] == FIVE_MISTAKES


def test_each_mistake_is_a_cause() -> None:
    details = respond(a_review().creating(five_mistakes()))["status"]["details"]
    assert {key: details[key] for key in ("name", "group", "kind")} == {
        "name": "docker",
        "group": "k8s.osp.tech",
        "kind": "RegistryMirror",
    }
    assert [(cause["reason"], cause["field"]) for cause in details["causes"]] == [
        ("FieldValueInvalid", "spec.upstreamUrl"),
        ("FieldValueInvalid", "spec.masqueradeUrl"),
        ("FieldValueNotSupported", f"{CLAIM}.accessModes[0]"),
        ("FieldValueInvalid", "spec.replicas"),
        ("FieldValueInvalid", "spec.ttl"),
    ]
    lines = [f"* {cause['field']}: {cause['message']}" for cause in details["causes"]]
    assert lines == FIVE_MISTAKES.splitlines()[1:]


@given(reviews.reviews())
def test_both_paths_refuse_the_same(builder: ReviewBuilder) -> None:
    try:
        mutated, validated = respond(builder, "mutate"), respond(builder, "validate")
    except MalformedError:
        return  # test_any_bytes_are_malformed_or_reviewed covers these
    assert mutated["allowed"] == validated["allowed"]
    assert mutated.get("status") == validated.get("status")
    sent = orjson.loads(builder.body())["request"]
    assert validated["allowed"] == (not validate(sent["object"], sent["oldObject"]))


@given(strategies.mirrors())
def test_patch_gives_the_defaulted_object(builder: MirrorBuilder) -> None:
    mirror = builder.having("notYetInvented", {"a/b~c": [1, {"": None}]}).raw()
    response = respond(a_review().creating(mirror), "mutate")
    assert reviews.patched(mirror, response) == with_defaults(mirror)


@given(strategies.mirrors(), strategies.mirrors())
def test_update_patch_uses_old_values(old: MirrorBuilder, new: MirrorBuilder) -> None:
    response = respond(a_review().updating(old, new), "mutate")
    if response["allowed"]:
        assert reviews.patched(new.raw(), response) == with_defaults(new.raw(), old.raw())


@given(strategies.mirrors())
def test_complete_object_gets_no_patch(builder: MirrorBuilder) -> None:
    complete = with_defaults(builder.raw())
    for review in (a_review().creating(complete), a_review().updating(builder, complete)):
        response = respond(review, "mutate")
        assert response == {"uid": UID, "allowed": True}


def test_patch_adds_only_missing_fields() -> None:
    mirror = a_mirror().keeping("24h").storing("5Gi").having("spec.notYetInvented", {"deep": [1]}).raw()
    operations = operations_of(respond(a_review().creating(mirror), "mutate"))
    assert operations == [
        {"op": "add", "path": "/metadata/labels", "value": {"app": "docker-registry", "mirror": "docker"}},
        {"op": "add", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/spec/volumeClaimTemplate/spec/accessModes", "value": ["ReadWriteOnce"]},
    ]


def test_update_without_storage_keeps_stored_size() -> None:
    response = respond(a_review().updating(a_mirror().storing("5Gi"), a_mirror()), "mutate")
    assert reviews.patched(a_mirror().raw(), response)["spec"]["volumeClaimTemplate"] == {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    }


def test_shrinking_volume_is_refused() -> None:
    old = a_mirror().storing("20Gi").granted("20Gi")
    response = respond(a_review().updating(old, a_mirror().storing("5Gi").granted("20Gi")))
    assert [cause["field"] for cause in response["status"]["details"]["causes"]] == [
        f"{CLAIM}.resources.requests.storage"
    ]


def test_only_validate_returns_warnings() -> None:
    review = a_review().creating(a_mirror().of("hub.docker.com"))
    assert "warnings" not in respond(review, "mutate")
    (warning,) = respond(review, "validate")["warnings"]
    assert warning == (
        "spec.upstreamUrl: hub.docker.com is not a registry; the mirror uses https://registry-1.docker.io"
        " for images named docker.io/..."
    )


def test_refused_object_gets_no_warnings() -> None:
    assert "warnings" not in respond(a_review().creating(a_mirror().of("hub.docker.com").replicated(0)))


def test_masquerade_outside_domains_is_refused() -> None:
    review = a_review().creating(a_mirror().known_as("mirror.example.org"))
    assert respond(review)["allowed"]
    assert not respond(review, domains=("example.com",))["allowed"]


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_deletion_of_invalid_mirror_passes(path: str) -> None:
    assert respond(a_review().deleting(five_mistakes()), path) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_status_update_passes(path: str) -> None:
    review = a_review().updating(five_mistakes(), five_mistakes()).having(subResource="status")
    assert respond(review, path) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize("path", ["mutate", "validate"])
@pytest.mark.parametrize(
    "kind",
    [("", "v1", "Pod"), ("k8s.osp.tech", "v1beta1", "RegistryMirror"), ("k8s.osp.tech", "v1", "RegistryMirrors")],
)
def test_other_kind_is_refused(path: str, kind: tuple[str, str, str]) -> None:
    status = respond(a_review().of_kind(*kind), path)["status"]
    group, version, name = kind
    assert status["code"] == 400
    assert status["message"] == (
        f'this webhook reviews k8s.osp.tech/v1 RegistryMirror, not "{group}/{version} {name}":'
        " correct the rules of its webhook configuration"
    )


def test_generated_name_is_refused() -> None:
    review = (
        a_review().creating(a_mirror().without("metadata.name").having("metadata.generateName", "m-")).having(name="")
    )
    status = respond(review)["status"]
    assert status["message"].startswith(
        'RegistryMirror.k8s.osp.tech "" is invalid: metadata.name: Required value: generateName'
    )


def test_million_values_are_refused_as_too_many() -> None:
    response = respond(a_review().creating(a_mirror().accessed(*["RWO"] * 1_000_000)))
    assert "spec: Invalid value: " in response["status"]["message"]
    assert "must have at most 5000 values" in response["status"]["message"]


def test_at_most_hundred_mistakes_are_reported() -> None:
    status = respond(a_review().creating(a_mirror().accessed(*["RWO"] * 250)))["status"]
    assert len(status["details"]["causes"]) == 100
    assert status["message"].splitlines()[-1] == "* and 150 more"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body must be JSON: .*"),
        (b"{", "the body must be JSON: .*"),
        (b"\xff\xfe", "the body must be JSON: .*"),
        (b"[" * 2000 + b"]" * 2000, "the body must be JSON: .*"),
        (b"[]", "the body must be an AdmissionReview of admission.k8s.io/v1"),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}', "the body must be an Admission.*"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "the review has no request"),
    ],
)
def test_other_documents_are_malformed(body: bytes, sentence: str) -> None:
    with pytest.raises(MalformedError, match=f"^{sentence}$"):
        handlers.parse(body)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"uid": None}, "request.uid must be a string of 1 to 128 characters"),
        ({"uid": ""}, "request.uid must be a string of 1 to 128 characters"),
        ({"uid": "x" * 129}, "request.uid must be a string of 1 to 128 characters"),
        ({"operation": "PATCH"}, "request.operation must be one of CONNECT, CREATE, DELETE, UPDATE"),
        ({"operation": ["CREATE"]}, "request.operation must be one of CONNECT, CREATE, DELETE, UPDATE"),
        ({"object": None}, "request.object is required for CREATE"),
        ({"object": []}, "request.object must be an object"),
        ({"oldObject": "x"}, "request.oldObject must be an object"),
        ({"kind": None}, "request.kind must name group, version and kind, each as a string"),
        ({"kind": {"group": 1, "version": "v1", "kind": "x"}}, "request.kind must name group, version and kind, .*"),
        ({"subResource": 7}, "request.kind must name group, version and kind, .*"),
    ],
)
def test_wrong_envelope_is_malformed(fields: Json, sentence: str) -> None:
    with pytest.raises(MalformedError, match=f"^{sentence}$"):
        handlers.parse(a_review().having(**fields).body())


@given(reviews.bodies())
def test_any_bytes_are_malformed_or_reviewed(body: bytes) -> None:
    try:
        review = handlers.parse(body)
    except MalformedError:
        return
    for handler in (handlers.mutate, handlers.validate):
        document: Any = json.loads(responses.serialize(review.uid, handler(review)))
        reviews.assert_well_formed(document, review.uid)
