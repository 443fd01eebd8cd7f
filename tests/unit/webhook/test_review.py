"""What a review's judgement is, whichever path it came by."""

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

NOTHING_SAID = """\
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


def judged(builder: ReviewBuilder, path: str = "validate", domains: tuple[str, ...] = ()) -> Json:
    """The response to a review, as it goes out."""
    asked = handlers.parse(builder.body())
    answer = {"validate": handlers.validate, "mutate": handlers.mutate}[path](asked, domains)
    document = json.loads(responses.serialised(asked.uid, answer))
    reviews.assert_well_formed(document, UID)
    response: Json = document["response"]
    return response


def five_mistakes() -> MirrorBuilder:
    return a_mirror().of("quay.io/v2").known_as("https://local.quay.io").replicated(11).keeping("7d").accessed("RWO")


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_an_empty_spec_is_refused_with_the_field_what_it_is_and_an_example(path: str) -> None:
    response = judged(a_review().creating(a_mirror().having("spec", {})), path)
    assert response["status"]["message"] == NOTHING_SAID
    assert response["status"]["code"] == 422
    assert response["status"]["reason"] == "Invalid"
    assert response["status"]["status"] == "Failure"


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_five_mistakes_are_told_at_once_one_line_each(path: str) -> None:
    assert judged(a_review().creating(five_mistakes()), path)["status"]["message"] == FIVE_MISTAKES


def test_each_mistake_is_a_cause_too_because_kubectl_prints_those() -> None:
    details = judged(a_review().creating(five_mistakes()))["status"]["details"]
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
def test_both_paths_refuse_the_same_and_that_is_what_validation_finds(builder: ReviewBuilder) -> None:
    try:
        mutated, validated = judged(builder, "mutate"), judged(builder, "validate")
    except MalformedError:
        return  # the property about bytes has those
    assert mutated["allowed"] == validated["allowed"]
    assert mutated.get("status") == validated.get("status")
    sent = orjson.loads(builder.body())["request"]
    assert validated["allowed"] == (not validate(sent["object"], sent["oldObject"]))


@given(strategies.mirrors())
def test_the_patch_gives_the_defaulted_object_and_nothing_else(builder: MirrorBuilder) -> None:
    mirror = builder.having("notYetInvented", {"a/b~c": [1, {"": None}]}).raw()
    response = judged(a_review().creating(mirror), "mutate")
    assert reviews.patched(mirror, response) == with_defaults(mirror)


@given(strategies.mirrors(), strategies.mirrors())
def test_the_patch_of_an_update_gives_the_object_with_what_the_old_one_had(
    old: MirrorBuilder, new: MirrorBuilder
) -> None:
    response = judged(a_review().updating(old, new), "mutate")
    if response["allowed"]:
        assert reviews.patched(new.raw(), response) == with_defaults(new.raw(), old.raw())


@given(strategies.mirrors())
def test_an_object_with_all_its_defaults_gets_no_patch_at_all(builder: MirrorBuilder) -> None:
    complete = with_defaults(builder.raw())
    for asked in (a_review().creating(complete), a_review().updating(builder, complete)):
        response = judged(asked, "mutate")
        assert response == {"uid": UID, "allowed": True}


def test_the_patch_touches_only_what_is_missing() -> None:
    mirror = a_mirror().keeping("24h").storing("5Gi").having("spec.notYetInvented", {"deep": [1]}).raw()
    operations = operations_of(judged(a_review().creating(mirror), "mutate"))
    assert operations == [
        {"op": "add", "path": "/metadata/labels", "value": {"app": "docker-registry", "mirror": "docker"}},
        {"op": "add", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/spec/volumeClaimTemplate/spec/accessModes", "value": ["ReadWriteOnce"]},
    ]


def test_an_update_that_leaves_the_storage_out_keeps_the_stored_one() -> None:
    response = judged(a_review().updating(a_mirror().storing("5Gi"), a_mirror()), "mutate")
    assert reviews.patched(a_mirror().raw(), response)["spec"]["volumeClaimTemplate"] == {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    }


def test_a_volume_that_would_shrink_is_refused_on_update() -> None:
    old = a_mirror().storing("20Gi").granted("20Gi")
    response = judged(a_review().updating(old, a_mirror().storing("5Gi").granted("20Gi")))
    assert [cause["field"] for cause in response["status"]["details"]["causes"]] == [
        f"{CLAIM}.resources.requests.storage"
    ]


def test_warnings_come_from_validate_alone_so_that_kubectl_prints_each_once() -> None:
    asked = a_review().creating(a_mirror().of("hub.docker.com"))
    assert "warnings" not in judged(asked, "mutate")
    (warning,) = judged(asked, "validate")["warnings"]
    assert warning == (
        "spec.upstreamUrl: hub.docker.com is not a registry; the mirror uses https://registry-1.docker.io"
        " for images named docker.io/..."
    )


def test_a_refused_object_gets_no_warnings_beside_the_refusal() -> None:
    assert "warnings" not in judged(a_review().creating(a_mirror().of("hub.docker.com").replicated(0)))


def test_masquerade_names_outside_the_allowed_domains_are_refused() -> None:
    asked = a_review().creating(a_mirror().known_as("mirror.example.org"))
    assert judged(asked)["allowed"]
    assert not judged(asked, domains=("example.com",))["allowed"]


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_nothing_stands_in_the_way_of_a_deletion_not_even_of_an_invalid_mirror(path: str) -> None:
    assert judged(a_review().deleting(five_mistakes()), path) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize("path", ["mutate", "validate"])
def test_a_status_is_not_judged(path: str) -> None:
    asked = a_review().updating(five_mistakes(), five_mistakes()).having(subResource="status")
    assert judged(asked, path) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize("path", ["mutate", "validate"])
@pytest.mark.parametrize(
    "kind",
    [("", "v1", "Pod"), ("k8s.osp.tech", "v1beta1", "RegistryMirror"), ("k8s.osp.tech", "v1", "RegistryMirrors")],
)
def test_another_kind_is_an_error_that_says_the_registration_is_wrong(path: str, kind: tuple[str, str, str]) -> None:
    status = judged(a_review().of_kind(*kind), path)["status"]
    group, version, name = kind
    assert status["code"] == 400
    assert status["message"] == (
        f'this webhook judges k8s.osp.tech/v1 RegistryMirror and was asked about "{group}/{version} {name}":'
        " the rules of its webhook configuration are wrong"
    )


def test_a_generated_name_is_refused_with_its_reason() -> None:
    asked = (
        a_review().creating(a_mirror().without("metadata.name").having("metadata.generateName", "m-")).having(name="")
    )
    status = judged(asked)["status"]
    assert status["message"].startswith(
        'RegistryMirror.k8s.osp.tech "" is invalid: metadata.name: Required value: generateName'
    )


def test_a_million_values_are_refused_as_too_many_instead_of_being_judged_one_by_one() -> None:
    response = judged(a_review().creating(a_mirror().accessed(*["RWO"] * 1_000_000)))
    assert "spec: Invalid value: " in response["status"]["message"]
    assert "holds more than 5000 values" in response["status"]["message"]


def test_hundreds_of_mistakes_are_told_up_to_a_hundred_with_the_count_of_the_rest() -> None:
    status = judged(a_review().creating(a_mirror().accessed(*["RWO"] * 250)))["status"]
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
def test_what_is_no_review_is_malformed_and_a_sentence_says_why(body: bytes, sentence: str) -> None:
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
        ({"object": None}, "request.object must be there for CREATE"),
        ({"object": []}, "request.object must be an object"),
        ({"oldObject": "x"}, "request.oldObject must be an object"),
        ({"kind": None}, "request.kind must name group, version and kind, each as a string"),
        ({"kind": {"group": 1, "version": "v1", "kind": "x"}}, "request.kind must name group, version and kind, .*"),
        ({"subResource": 7}, "request.kind must name group, version and kind, .*"),
    ],
)
def test_a_review_with_a_wrong_envelope_is_malformed_and_a_sentence_says_why(fields: Json, sentence: str) -> None:
    with pytest.raises(MalformedError, match=f"^{sentence}$"):
        handlers.parse(a_review().having(**fields).body())


@given(reviews.bodies())
def test_any_bytes_are_malformed_or_judged_and_never_an_error_of_ours(body: bytes) -> None:
    try:
        asked = handlers.parse(body)
    except MalformedError:
        return
    for judge in (handlers.mutate, handlers.validate):
        document: Any = json.loads(responses.serialised(asked.uid, judge(asked)))
        reviews.assert_well_formed(document, asked.uid)
