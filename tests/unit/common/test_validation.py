"""Check that validation returns all errors at once and never raises."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import masquerade
from common.admission_warnings import warnings_for
from common.defaults import without_nulls
from common.field_errors import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, FieldError
from common.model import RegistryMirrorSpec
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

METADATA = "spec.volumeClaimTemplate.metadata"
CAUSES = {REQUIRED, INVALID, NOT_SUPPORTED, FORBIDDEN}

# Field, invalid values, and the suffix of the error's path.
INVALID_VALUES: dict[str, tuple[list[Any], str]] = {
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
    "spec.cache.nodeSelector": ([{"infra": "a b"}, {"infra": True}, {"infra": 5}], ".infra"),
    "spec.cache.tolerations": (
        [
            [{}],
            [{"value": "x"}],
            [{"key": "a", "operator": "Exists", "value": "x"}],
            [{"key": "a", "tolerationSeconds": 5}],
            [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}],
        ],
        "[0]",
    ),
    "spec.cache.affinity": (["infra", 5, [], True], ""),
    "spec.cache.priorityClassName": (["", "High", "a b", 5, []], ""),
    "spec.cache.resources": (
        [
            "1Gi",
            {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
            {"requests": {"cpu": "1.1"}, "limits": {"cpu": "1000m"}},
        ],
        "",
    ),
    "spec.cache.labels": ([{"app": "docker-registry"}, {"app": "mine"}], ".app"),
    "spec.cache.annotations": ([{"k8s.osp.tech/cleaning": "x"}], '["k8s.osp.tech/cleaning"]'),
    "spec.cache.trafficDistribution": (["Close", "", 5, []], ""),
    "spec.agent.resources": (
        [{"limits": {"memory": amount}} for amount in ("1 Gi", "-1Gi", -1, True)],
        ".limits.memory",
    ),
    "spec.agent.labels": ([{"team": "a b"}, {"team": 5}, {"team": "x" * 64}], ".team"),
    "spec.agent.priorityClassName": (["", "High"], ""),
}


def _paths(mirror: MirrorBuilder) -> list[str]:
    return [error.path for error in validate(mirror.raw())]


@given(strategies.mirrors())
def test_valid_mirror_has_no_errors(mirror: MirrorBuilder) -> None:
    assert validate(mirror.raw()) == []
    assert all(warnings_for(RegistryMirrorSpec.model_validate(without_nulls(mirror.raw()["spec"]))))


@pytest.mark.parametrize(
    ("path", "value", "suffix"),
    [(path, value, suffix) for path, (values, suffix) in INVALID_VALUES.items() for value in values],
)
def test_invalid_value_is_one_error(path: str, value: Any, suffix: str) -> None:
    assert _paths(a_mirror().having(path, value)) == [path + suffix]


@given(st.lists(st.sampled_from(sorted(INVALID_VALUES)), unique=True), st.data())
def test_all_errors_are_returned_together(chosen: list[str], data: st.DataObject) -> None:
    mirror = a_mirror()
    for path in chosen:
        mirror = mirror.having(path, data.draw(st.sampled_from(INVALID_VALUES[path][0])))
    assert sorted(_paths(mirror)) == sorted(path + INVALID_VALUES[path][1] for path in chosen)


@given(strategies.damaged_mirrors(), st.none() | strategies.damaged_mirrors())
def test_damaged_mirror_gives_printable_errors(mirror: Any, old: Any) -> None:
    for error in validate(mirror, old, ("example.com",)):
        assert error.path.partition(".")[0] in ("metadata", "spec")
        assert error.cause in CAUSES
        assert error.sentence
        assert str(error).isprintable()
        assert len(str(error)) < 1500
        assert orjson.dumps([error.path, error.message])  # what the webhook answers must be UTF-8


@given(strategies.json_values(), strategies.json_values())
def test_any_json_is_validated(mirror: Any, old: Any) -> None:
    assert all(map(str, validate(mirror, old)))
    assert all(map(str, validate({"metadata": mirror, "spec": old}, {"spec": mirror, "status": old})))


@pytest.mark.parametrize("levels", [63, 100, 1_000, 100_000])
@pytest.mark.parametrize("path", ["spec", "spec.upstreamUrl", "metadata", f"{CLAIM}.selector", "status.storage"])
def test_deep_nesting_is_validated(path: str, levels: int) -> None:
    deep = {"kind": "RegistryMirror", **_at(path, strategies.nested(levels))}
    assert all(map(str, validate(deep)))
    assert validate(a_mirror().raw(), deep) == []


def _at(path: str, value: Any) -> Any:
    """Build the object without MirrorBuilder, which copies recursively."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize("obj", [None, 5, "mirror", [], [{}], True])
def test_non_object_is_refused(obj: Any) -> None:
    (error,) = validate(obj)
    assert error.sentence == "must be an object of kind RegistryMirror"


@pytest.mark.parametrize("field", ["masqueradeUrl", "credentialsSecret", "replicas", "ttl", "volumeClaimTemplate"])
def test_null_counts_as_missing(field: str) -> None:
    assert _paths(a_mirror().having(f"spec.{field}", None)) == []


def test_unknown_field_is_ignored() -> None:
    assert _paths(a_mirror().having("spec.notYetInvented", 5).having(f"{CLAIM}.dataSourceRevision", [])) == []


def test_whole_claim_is_accepted() -> None:
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
        a_mirror().placing_caches(resources={"requests": {"memory": None}, "limits": {"memory": "1Mi"}}),
        a_mirror().with_claims_labelled({"app.kubernetes.io/part-of": "a_b.C-1", "empty": ""}),
        a_mirror().with_claims_annotated({"example.com/Any_thing": "any\nthing at all ☃"}),
        a_mirror().having(f"{CLAIM}.volumeMode", "Filesystem"),
        a_mirror().named("a").labelled({"mirror": "a", "app": "mine"}),
    ],
    ids=lambda mirror: str(mirror.raw()["spec"])[:70],
)
def test_unusual_valid_mirror_is_accepted(mirror: MirrorBuilder) -> None:
    assert validate(mirror.raw()) == []


@pytest.mark.parametrize(
    ("mirror", "domains", "sentence"),
    [
        (a_mirror().known_as("a.example.com"), ("example.com",), None),
        (a_mirror().known_as("a.other.net"), ("example.com",), "is outside the domains"),
        (a_mirror().known_as("node-1"), (), "must have a dot, because"),
        (a_mirror().of("registry:5000"), (), None),
        (a_mirror(), ("example.com",), 'the default "mirror-quay.io" is outside'),
        (a_mirror().of("hub.example.com"), ("example.com",), None),
        (a_mirror().of("10.0.0.1:5000"), (), None),
        (a_mirror().of("10.0.0.1"), ("example.com",), 'the default "mirror--f5047344122f.internal" is outside'),
        (a_mirror().of("registry.tools.svc:5000"), (), 'the default "mirror-registry.tools.svc" is reserved'),
        (a_mirror().of("registry.tools.svc:5000").known_as("tools.example.com"), (), None),
    ],
)
def test_host_name_on_nodes_is_validated(mirror: MirrorBuilder, domains: tuple[str, ...], sentence: str | None) -> None:
    errors = validate(mirror.raw(), None, domains)
    assert [error.path for error in errors] == (["spec.masqueradeUrl"] if sentence else [])
    assert all(sentence and sentence in error.sentence for error in errors)
    assert all('"masqueradeUrl: mirror.exam' in error.sentence for error in errors)


@pytest.mark.parametrize(
    ("url", "name", "sentence"),
    [
        ("reg.local.test:5000", "reg.local.test", "it names https://reg.local.test, another registry; choose"),
        ("http://reg.local.test", "reg.local.test", "it names https://reg.local.test, another registry; choose"),
        ("https://reg.local.test:80", "reg.local.test", "another registry"),
        ("quay.io", "docker.io", "is a name of Docker Hub, and the upstream is another registry"),
        ("quay.io", "registry-1.docker.io", "is a name of Docker Hub"),
        ("reg.local.test:443", "reg.local.test", None),
        ("docker.io", "docker.io", None),
        ("registry-1.docker.io", "index.docker.io", None),
    ],
)
def test_name_of_another_registry_is_refused(url: str, name: str, sentence: str | None) -> None:
    """K2: the hosts entry would lead that registry's images to this mirror."""
    errors = validate(a_mirror().of(url).known_as(name).raw())
    assert [error.path for error in errors] == (["spec.masqueradeUrl"] if sentence else [])
    assert all(sentence and sentence in error.sentence for error in errors)


@pytest.mark.parametrize("url", ["10.0.0.1", "[2001:db8::1]:5000", "registry:5000", f"{'x' * 60}.example.com"])
def test_implied_name_obeys_rules_of_given_one(url: str) -> None:
    """K2: runtimes take a first part without a dot for a repository of Docker Hub."""
    implied = masquerade.default_of(url)
    assert validate(a_mirror().of(url).known_as(implied).raw()) == []


@pytest.mark.parametrize("wrong", [{"upstreamUrl": None}, {}, {"upstreamUrl": "a b"}, {"upstreamUrl": 5}])
def test_invalid_upstream_is_one_error(wrong: dict[str, Any]) -> None:
    errors = validate(a_mirror().having("spec", wrong).raw(), None, ("example.com",))
    assert [error.path for error in errors] == ["spec.upstreamUrl"]


def test_invalid_masquerade_url_is_one_error() -> None:
    """The check of the allowed domains needs a valid name, so it adds no second error."""
    errors = validate(a_mirror().known_as("https://a.b").raw(), None, ("example.com",))
    assert [error.sentence.partition(";")[0] for error in errors] == ["must be a host name only"]


@pytest.mark.parametrize(
    "name",
    [
        *("localhost.", "a.localhost.", "LOCALHOST", "A.Svc", "quay.io.", ".quay.io", "*.quay.io", "*", "a..b"),
        *("", "127.0.0.1", "0x7f.1", "1.0x7f", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "::1"),
        *("[::1]", "a.0x", "\u043aubernetes.default", "b\xfccher.example", "localhost\u3002example"),
        *("local\xadhost", "a\u200b.example", "a b.example", "a\tb.example", "a\n10.0.0.1 b.example"),
        *("a#b.example", "a.example\n", "a.example\x00", "-a.example", "a_b.example", "a.example:443"),
        *("https://a.example", "a.example/x", "u@a.example", 'a".example', "a" * 64 + ".b"),
    ],
)
def test_malformed_masquerade_url_is_refused(name: str) -> None:
    (error,) = validate(a_mirror().known_as(name).raw())
    assert error.path == "spec.masqueradeUrl"


def test_xn_masquerade_url_is_accepted() -> None:
    assert validate(a_mirror().known_as("xn--bcher-kva.example").raw()) == []


def test_generate_name_is_refused() -> None:
    (error,) = validate(a_mirror().without("metadata.name").having("metadata.generateName", "docker-").raw())
    assert error == FieldError(
        "metadata.name",
        REQUIRED,
        'generateName is not supported, because objects are named after the mirror; for example "name: docker"',
    )


@pytest.mark.parametrize("label", ["other", "", "Docker", 5, [], {}])
def test_different_mirror_label_is_refused(label: Any) -> None:
    (error,) = validate(a_mirror().having("metadata.labels.mirror", label).raw())
    assert error.path == "metadata.labels.mirror"
    assert 'must be "docker", the name of the mirror; correct it' in error.sentence
