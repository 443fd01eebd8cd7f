"""Validation names every mistake at once, each with a way out, and survives any JSON."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.admission_warnings import warnings_for
from common.defaults import without_nulls
from common.field_errors import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, FieldError
from common.model import RegistryMirrorSpec
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

METADATA = "spec.volumeClaimTemplate.metadata"
CAUSES = {REQUIRED, INVALID, NOT_SUPPORTED, FORBIDDEN}

# Where a mistake can be planted: the field, wrong values, and where it is then told (the field itself, if not said).
MISTAKES: dict[str, tuple[list[Any], str]] = {
    "metadata.name": (["", "A.b", "x" * 37, "a-headless", 5, None], ""),
    "spec.upstreamUrl": (["", "a b", "quay.io/v2", "bob:pw@quay.io", 5, None, [], {}, True], ""),
    "spec.masqueradeUrl": (["A.b", "a_b", "a.", "localhost", "https://a.b", "a:1", "1.2.3.4", 5, [], {}], ""),
    "spec.credentialsSecret": (["", "A", "a/b", "a b", 5, {"username": "bob"}, []], ""),
    "spec.replicas": ([0, 11, -1, "2", 2.0, 1.5, True, [], {}, 10**30], ""),
    "spec.ttl": (["", "7d", "168", "-1h", "1 h", 0, 168, [], {}, "9999999h"], ""),
    f"{METADATA}.name": (["cache", "", 5, []], ""),
    f"{METADATA}.labels": ([{"team": "a b"}, {"team": True}, {"team": "x" * 64}, {"team": 5}], ".team"),
    f"{METADATA}.annotations": ([{"a b": ""}, {"a b": "c"}], '["a b"]'),
    f"{CLAIM}.accessModes": ([["RWO"], [5], ["readwriteonce"]], "[0]"),
    f"{CLAIM}.resources.requests": (
        [{"storage": amount} for amount in ("20 Gi", 0, -1, "-1Gi", 1.5, True)],
        ".storage",
    ),
    f"{CLAIM}.resources.limits": ([{"cpu": "1"}, {"cpu": 5}], ".cpu"),
    f"{CLAIM}.storageClassName": (["A", "a b", 5, []], ""),
    f"{CLAIM}.selector": ([{"matchLabels": {"team": "a b"}}], ".matchLabels.team"),
    f"{CLAIM}.volumeMode": (["Block", "block", 5], ""),
    f"{CLAIM}.volumeName": (["pv-1", "", 5], ""),
    f"{CLAIM}.volumeAttributesClassName": (["A", 5], ""),
    f"{CLAIM}.dataSource": ([{"kind": "VolumeSnapshot"}], ".name"),
}


def _paths(mirror: MirrorBuilder) -> list[str]:
    return [problem.path for problem in validate(mirror.raw())]


@given(strategies.mirrors())
def test_a_valid_mirror_has_no_problem_and_can_be_parsed_and_advised_on(mirror: MirrorBuilder) -> None:
    assert validate(mirror.raw()) == []
    assert all(warnings_for(RegistryMirrorSpec.model_validate(without_nulls(mirror.raw()["spec"]))))


@pytest.mark.parametrize(
    ("path", "value", "told"), [(path, value, told) for path, (values, told) in MISTAKES.items() for value in values]
)
def test_one_mistake_is_one_problem_at_its_path(path: str, value: Any, told: str) -> None:
    assert _paths(a_mirror().having(path, value)) == [path + told]


@given(st.lists(st.sampled_from(sorted(MISTAKES)), unique=True), st.data())
def test_many_mistakes_are_told_all_at_once_and_nothing_else(planted: list[str], data: st.DataObject) -> None:
    mirror = a_mirror()
    for path in planted:
        mirror = mirror.having(path, data.draw(st.sampled_from(MISTAKES[path][0])))
    assert sorted(_paths(mirror)) == sorted(path + MISTAKES[path][1] for path in planted)


@given(strategies.damaged_mirrors(), st.none() | strategies.damaged_mirrors())
def test_nothing_raises_and_every_problem_can_be_told(mirror: Any, old: Any) -> None:
    for problem in validate(mirror, old, ("example.com",)):
        assert problem.path.partition(".")[0] in ("metadata", "spec")
        assert problem.cause in CAUSES
        assert problem.sentence
        assert str(problem).isprintable()
        assert len(str(problem)) < 1500
        assert orjson.dumps([problem.path, problem.message])  # what the webhook answers must be UTF-8


@given(strategies.json_values(), strategies.json_values())
def test_no_json_at_all_raises(mirror: Any, old: Any) -> None:
    assert all(map(str, validate(mirror, old)))
    assert all(map(str, validate({"metadata": mirror, "spec": old}, {"spec": mirror, "status": old})))


@pytest.mark.parametrize("levels", [63, 100, 1_000, 100_000])
@pytest.mark.parametrize("path", ["spec", "spec.upstreamUrl", "metadata", f"{CLAIM}.selector", "status.storage"])
def test_no_depth_raises(path: str, levels: int) -> None:
    deep = {"kind": "RegistryMirror", **_at(path, strategies.nested(levels))}
    assert all(map(str, validate(deep)))
    assert validate(a_mirror().raw(), deep) == []


def _at(path: str, value: Any) -> Any:
    """Without the builder, whose copies would end in what is tried here."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize("raw", [None, 5, "mirror", [], [{}], True])
def test_what_is_no_object_is_told_as_a_whole(raw: Any) -> None:
    (problem,) = validate(raw)
    assert problem.sentence == "must be an object of kind RegistryMirror"


@pytest.mark.parametrize("field", ["masqueradeUrl", "credentialsSecret", "replicas", "ttl", "volumeClaimTemplate"])
def test_an_explicit_null_is_a_field_left_out(field: str) -> None:
    assert _paths(a_mirror().having(f"spec.{field}", None)) == []


def test_unknown_fields_are_the_api_servers_business() -> None:
    assert _paths(a_mirror().having("spec.notYetInvented", 5).having(f"{CLAIM}.dataSourceRevision", [])) == []


def test_a_whole_claim_may_be_pasted() -> None:
    """As the seed says: the same as a PersistentVolumeClaim."""
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteOnce"]}}
    assert _paths(a_mirror().having("spec.volumeClaimTemplate", claim)) == []
    other = {"apiVersion": "v2", "kind": "Volume"}
    assert _paths(a_mirror().having("spec.volumeClaimTemplate", other)) == [
        "spec.volumeClaimTemplate.apiVersion",
        "spec.volumeClaimTemplate.kind",
    ]


@pytest.mark.parametrize(
    "mirror",
    [
        a_mirror().on_class(""),  # no dynamic provisioning
        a_mirror().accessed("ReadWriteOnce", "ReadWriteMany"),
        a_mirror().accessed("ReadOnlyMany", "ReadWriteOnce"),
        a_mirror().logging_in_with("x" * 64),
        a_mirror().keeping("24h0m0s"),
        a_mirror().limited_to("100Gi").storing(21474836480),
        a_mirror().with_claims_labelled({"app.kubernetes.io/part-of": "a_b.C-1", "empty": ""}),
        a_mirror().with_claims_annotated({"example.com/Any_thing": "any\nthing at all ☃"}),
        a_mirror().having(f"{CLAIM}.volumeMode", "Filesystem"),
        a_mirror().named("a").labelled({"mirror": "a", "app": "mine"}),
    ],
    ids=lambda mirror: str(mirror.raw()["spec"])[:70],
)
def test_what_kubernetes_allows_and_a_cache_can_use_is_accepted(mirror: MirrorBuilder) -> None:
    assert validate(mirror.raw()) == []


@pytest.mark.parametrize(
    ("mirror", "domains", "sentence"),
    [
        (a_mirror().known_as("a.example.com"), ("example.com",), None),
        (a_mirror().known_as("a.other.net"), ("example.com",), "is not within the domains"),
        (a_mirror().known_as("node-1"), (), "must have a dot"),
        (a_mirror().of("registry:5000"), (), None),
        (a_mirror(), ("example.com",), 'nodes would know the mirror as "mirror-quay.io", which is not within'),
        (a_mirror().of("hub.example.com"), ("example.com",), None),
        (a_mirror().of("registry.tools.svc:5000"), (), 'nodes would know the mirror as "mirror-registry.tools.svc"'),
        (a_mirror().of("registry.tools.svc:5000").known_as("tools.example.com"), (), None),
    ],
)
def test_the_name_nodes_would_use_is_judged_given_or_implied(
    mirror: MirrorBuilder, domains: tuple[str, ...], sentence: str | None
) -> None:
    problems = validate(mirror.raw(), None, domains)
    assert [problem.path for problem in problems] == (["spec.masqueradeUrl"] if sentence else [])
    assert all(sentence and sentence in problem.sentence for problem in problems)
    assert all('"masqueradeUrl: mirror.exam' in problem.sentence for problem in problems)


@pytest.mark.parametrize("wrong", [{"upstreamUrl": None}, {}, {"upstreamUrl": "a b"}, {"upstreamUrl": 5}])
def test_a_missing_or_wrong_upstream_implies_no_second_problem(wrong: dict[str, Any]) -> None:
    problems = validate(a_mirror().having("spec", wrong).raw(), None, ("example.com",))
    assert [problem.path for problem in problems] == ["spec.upstreamUrl"]


def test_one_mistake_in_a_masquerade_url_is_one_line() -> None:
    """Not also that it is outside of the allowed domains, which nobody can tell before it is a name."""
    problems = validate(a_mirror().known_as("https://a.b").raw(), None, ("example.com",))
    assert [problem.sentence.partition(":")[0] for problem in problems] == ["must be a host name alone"]


@pytest.mark.parametrize(
    "name",
    [
        *("localhost.", "a.localhost.", "LOCALHOST", "A.Svc", "quay.io.", ".quay.io", "*.quay.io", "*", "a..b", ""),
        *("127.0.0.1", "0x7f.1", "1.0x7f", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "::1", "[::1]", "a.0x"),
        *(
            "\u043aubernetes.default",
            "b\u00fccher.example",
            "localhost\u3002example",
            "local\u00adhost",
            "a\u200b.example",
        ),
        *(
            "a b.example",
            "a\tb.example",
            "a\n10.0.0.1 b.example",
            "a#b.example",
            "a.example\n",
            "a.example\0",
            "-a.example",
        ),
        *(
            "a_b.example",
            "a.example:443",
            "https://a.example",
            "a.example/x",
            "u@a.example",
            'a".example',
            "a" * 64 + ".b",
        ),
    ],
)
def test_what_is_no_plain_name_in_lower_case_is_no_name_for_a_mirror(name: str) -> None:
    (problem,) = validate(a_mirror().known_as(name).raw())
    assert problem.path == "spec.masqueradeUrl"


def test_a_name_in_other_letters_is_one_in_the_form_of_dns() -> None:
    assert validate(a_mirror().known_as("xn--bcher-kva.example").raw()) == []


def test_a_name_left_to_the_api_server_is_refused_with_the_reason() -> None:
    (problem,) = validate(a_mirror().without("metadata.name").having("metadata.generateName", "docker-").raw())
    assert problem == FieldError(
        "metadata.name",
        REQUIRED,
        'generateName is not supported: everything of a mirror is named after it; for example "name: docker"',
    )


@pytest.mark.parametrize("label", ["other", "", "Docker", 5, [], {}])
def test_a_different_mirror_label_is_refused(label: Any) -> None:
    (problem,) = validate(a_mirror().having("metadata.labels.mirror", label).raw())
    assert problem.path == "metadata.labels.mirror"
    assert 'must be "docker", the name of the mirror, or be left out' in problem.sentence
