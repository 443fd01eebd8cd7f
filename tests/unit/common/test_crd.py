"""Check that the CustomResourceDefinition is structural, described, and consistent with validation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from common import crd, duration, names, quantity
from common.defaults import with_defaults, without_nulls
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMITTED = Path(__file__).parents[3] / "deploy" / "crd.yaml"
VERSION = crd.definition()["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]
SPEC = ROOT["properties"]["spec"]

# Keywords of structural schemas (apiextensions.k8s.io/v1, JSONSchemaProps) that the CRD uses.
KEYWORDS = {
    *("type", "description", "properties", "additionalProperties", "items", "required", "enum", "format", "anyOf"),
    *("pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems", "x-kubernetes-int-or-string"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
}
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
TYPES = {"string": str, "integer": int, "object": dict, "array": list}


def _schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a schema and all nested ones, each with its path."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from _schemas(below, f"{path}.{name}")
    for keyword, mark in (("additionalProperties", ".*"), ("items", "[*]")):
        if keyword in schema:
            yield from _schemas(schema[keyword], path + mark)


ALL = dict(_schemas(ROOT))


def _at(path: str) -> dict[str, Any]:
    return ALL[f".{path}"]


def _violations(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """Return the errors that the API server would report for `value`; it prunes unknown fields."""
    kinds = (str, int) if "x-kubernetes-int-or-string" in schema else (TYPES[schema["type"]],)
    if not isinstance(value, kinds) or isinstance(value, bool):
        return [f"{path}: type"]
    found = [
        f"{path}: {keyword}"
        for keyword, is_valid in _limits(schema, value).items()
        if keyword in schema and not is_valid
    ]
    if isinstance(value, list):
        return found + [each for item in value for each in _violations(schema["items"], item, f"{path}[]")]
    if isinstance(value, dict):
        found += [f"{path}.{name}: required" for name in schema.get("required", []) if name not in value]
        below = schema.get("properties", {})
        known = {key: below.get(key, schema.get("additionalProperties")) for key in value}
        return found + [e for key, s in known.items() if s for e in _violations(s, value[key], f"{path}.{key}")]
    return found


def _limits(schema: dict[str, Any], value: Any) -> dict[str, bool]:
    if isinstance(value, str):
        return {
            "pattern": re.fullmatch(schema.get("pattern", ""), value) is not None,
            "minLength": len(value) >= schema.get("minLength", 0),
            "maxLength": len(value) <= schema.get("maxLength", 0),
            "enum": value in schema.get("enum", []),
        }
    if isinstance(value, int):
        return {"minimum": value >= schema.get("minimum", 0), "maximum": value <= schema.get("maximum", 0)}
    return {"maxItems": len(value) <= schema.get("maxItems", 0)} if isinstance(value, list) else {}


def test_committed_file_is_current() -> None:
    """If this fails, run `make crd`."""
    assert COMMITTED.read_text(encoding="utf-8") == crd.as_yaml()


def test_yaml_round_trips() -> None:
    assert yaml.safe_load(crd.as_yaml()) == crd.definition()


@pytest.mark.parametrize("path", ALL)
def test_schema_is_structural(path: str) -> None:
    """$ref and oneOf are refused; anyOf is allowed for int-or-string only. Only the status has a default."""
    schema = ALL[path]
    assert schema.keys() <= KEYWORDS | ({"default"} if path == ".status" else set())
    assert "x-kubernetes-int-or-string" in schema or "type" in schema
    assert schema.get("anyOf", INT_OR_STRING) == INT_OR_STRING
    assert ("anyOf" in schema) == ("x-kubernetes-int-or-string" in schema) == ("type" not in schema)
    assert not (schema.get("properties") and schema.get("additionalProperties"))


@pytest.mark.parametrize("path", [path for path in ALL if not path.endswith(("*", "]")) and path != ".metadata"])
def test_field_has_description(path: str) -> None:
    """The API server has its own schema for metadata."""
    assert ALL[path]["description"].endswith(".")


@pytest.mark.parametrize("path", [path for path, schema in ALL.items() if "pattern" in schema])
def test_pattern_is_anchored_and_valid_re2(path: str) -> None:
    pattern = ALL[path]["pattern"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    assert not re.search(r"\(\?|\\[1-9pPZzABbG]|[*+?}]\+", pattern)
    assert all(int(times) <= 1000 for times in re.findall(r"(\d+)\}", pattern))


def test_root_has_no_required_fields() -> None:
    """A required spec would make stored objects without a spec read-only."""
    assert all(
        set(schema.get("required", [])) <= set(schema["properties"]) for schema in ALL.values() if "required" in schema
    )
    assert "required" not in ROOT
    assert SPEC["required"] == ["upstreamUrl"]


def test_cel_rule_has_message() -> None:
    rules = [rule for schema in ALL.values() for rule in schema.get("x-kubernetes-validations", [])]
    assert len(rules) >= 5
    assert all(rule["rule"] and rule["message"] and not rule["message"].endswith(".") for rule in rules)


def test_resource_names_and_columns() -> None:
    definition = crd.definition()
    assert definition["metadata"]["name"] == "registrymirrors.k8s.osp.tech"
    assert definition["spec"]["scope"] == "Cluster"
    assert definition["spec"]["names"]["shortNames"] == ["rm"]
    assert VERSION["subresources"].keys() == {"status", "scale"}
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"] if "priority" not in column]
    assert columns == ["Upstream", "Masquerade", "Ready", "Reason", "Cache", "Nodes", "Age"]


@given(strategies.mirrors())
def test_schema_accepts_valid_mirror(mirror: MirrorBuilder) -> None:
    assert _violations(SPEC, with_defaults(mirror.raw())["spec"]) == []


@given(strategies.damaged_mirrors())
def test_validation_refuses_what_schema_refuses(mirror: Any) -> None:
    """Users read the message of the webhook first."""
    spec = without_nulls(mirror.get("spec"))
    assume(spec is not None and _violations(SPEC, spec))
    assert any(error.path.startswith("spec") for error in validate(mirror))


@pytest.mark.parametrize(
    ("path", "may_be_empty"), [("spec.credentialsSecret", False), (f"{CLAIM}.storageClassName", True)]
)
@given(data=st.data())
def test_name_patterns_equal_validation(path: str, may_be_empty: bool, data: st.DataObject) -> None:  # noqa: FBT001 (a column of the table)
    schema = _at(path)
    near = st.text("ab0.-A_ ", max_size=6)
    text = data.draw(st.from_regex(schema["pattern"], fullmatch=True) | strategies.object_names() | near)
    matches = not _violations(schema, text)
    assert matches == (not validate(a_mirror().having(path, text).raw()))
    assert matches == (names.is_object_name(text) or (may_be_empty and text == ""))


@given(st.from_regex(re.compile(ALL[".spec.ttl"]["pattern"], re.ASCII), fullmatch=True) | strategies.durations())
def test_ttl_pattern_accepts_durations(text: str) -> None:
    assume(len(text) <= duration.MAX_LENGTH)
    refused = [error.sentence for error in validate(a_mirror().keeping(text).raw())]
    assert all("longer than 292 years" in sentence for sentence in refused)


@given(st.text("0123456789.hmsnuµ+-d ", max_size=7))
def test_ttl_pattern_equals_validation(text: str) -> None:
    """Seven characters are too short for a duration that overflows in Go."""
    assert bool(validate(a_mirror().keeping(text).raw())) == bool(_violations(_at("spec.ttl"), text))


@given(strategies.quantities() | st.text("0123456789.+-eEinumkKMGTP ", max_size=8))
def test_quantity_pattern_equals_parser(text: str) -> None:
    is_quantity = True
    try:
        quantity.parse(text)
    except ValueError:
        is_quantity = False
    assert is_quantity == (not _violations(_at(f"{CLAIM}.resources.requests.*"), text))


@given(strategies.label_values() | st.text("aZ0-_. /", max_size=70))
def test_label_value_pattern_equals_validation(text: str) -> None:
    path = "spec.volumeClaimTemplate.metadata.labels"
    refused = validate(a_mirror().having(path, {"team": text}).raw())
    assert bool(refused) == bool(_violations(_at(f"{path}.*"), text))


@given(strategies.dns_names() | st.text("ab0.-A_ ", max_size=8))
def test_masquerade_url_pattern_accepts_dns_names(text: str) -> None:
    is_name = not _violations(_at("spec.masqueradeUrl"), text)
    assert names.is_dns_name(text) == (is_name and not text.rpartition(".")[2].isdecimal())


@given(strategies.upstream_urls())
def test_upstream_pattern_accepts_valid_urls(text: str) -> None:
    assert _violations(_at("spec.upstreamUrl"), text) == []


@pytest.mark.parametrize("text", ["", "a b", "https://", "quay.io/v2", "bob@quay.io", "quay.io?a", "quay.io#a", "a//"])
def test_schema_refuses_dangerous_upstreams(text: str) -> None:
    assert _violations(_at("spec.upstreamUrl"), text)


def test_definition_has_no_default_of_api_server() -> None:
    """The API server does not store this false, so Argo CD would report a difference."""
    assert "preserveUnknownFields" not in crd.definition()["spec"]
