"""Check that errors show values shortened, printable and without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import field_errors
from common.field_errors import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, FieldError
from common.validation import validate
from tests.support import strategies
from tests.support.mirrors import CLAIM, a_mirror

CANARY = "tweety-hunter2"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FieldError("spec.ttl", INVALID, "is wrong", "7d"), 'spec.ttl: Invalid value: "7d": is wrong'),
        (FieldError("spec.ttl", INVALID, "is wrong", None), "spec.ttl: Invalid value: null: is wrong"),
        (FieldError("a[0]", NOT_SUPPORTED, "must be b", "c"), 'a[0]: Unsupported value: "c": must be b'),
        (FieldError("spec", REQUIRED, "what to mirror", "unseen"), "spec: Required value: what to mirror"),
        (FieldError("spec", FORBIDDEN, "cannot change", "unseen"), "spec: Forbidden: cannot change"),
        (FieldError("", INVALID, "must be an object", 5), "Invalid value: 5: must be an object"),
    ],
)
def test_error_has_form_of_kubernetes(error: FieldError, line: str) -> None:
    assert str(error) == line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("quay.io", '"quay.io"'),
        ("grüße", '"grüße"'),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        ("a\nb\x00", '"a\\nb\\u0000"'),
        ("\x1b[2J\x9b2J", '"\\u001b[2J\\u009b2J"'),  # clears the terminal
        ("io.yauq\u202e", '"io.yauq\\u202e"'),  # reverses the rest of the line
        ("quay.io\u200b\u00a0", '"quay.io\\u200b\\u00a0"'),  # invisible
        ("\ud800", '"\\ud800"'),  # not valid UTF-8
        (True, "true"),
        (None, "null"),
        (-1.5, "-1.5"),
        (float("nan"), "NaN"),
        (10**5000, "a number of 16610 bits"),
        ({}, "{}"),
        ({"a": 1, "b": {"c": 2}}, '{"a": ..., "b": ...}'),
        ([1, "x", None, [2], {"a": 1}], '[1, "x", null, [...], {...}]'),
        (list(range(9)), "[0, 1, 2, 3, 4, ...]"),
        ("x" * 999, '"' + "x" * 79 + "..."),
    ],
    ids=lambda value: ascii(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_value_is_shown_as_printable_json(value: object, shown: str) -> None:
    assert field_errors.show(value) == shown


@given(strategies.json_values())
def test_any_shown_value_is_short_and_printable(value: object) -> None:
    shown = field_errors.show(value)
    assert len(shown) <= 84
    assert shown.isprintable()
    assert shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:pw@quay.io", "https://***@quay.io"),
        ("HTTP://bob@quay.io", "HTTP://***@quay.io"),
        ("bob:pw@quay.io", "***@quay.io"),
        ("https://bob:p@w@quay.io", "https://***@quay.io"),
        ("https://quay.io?token=pw", "https://quay.io?***"),
        ("quay.io", "quay.io"),
        ("what?", "what?"),
    ],
)
def test_user_information_and_query_are_hidden(text: str, shown: str) -> None:
    assert field_errors.without_secrets(text) == shown


def _around() -> st.SearchStrategy[str]:
    return st.text(st.sampled_from("/?#\"' \\:%[]{}\n\t\x00.ab1üπ\ud800"), max_size=6)


@st.composite
def _urls_with_a_password(draw: st.DrawFn) -> str:
    """Generate URLs with a password before every form of @."""
    scheme = draw(st.sampled_from(["https://", "http://", "HTTPS://", "", "//", "https:", "oci://", " https://", "\\"]))
    user = draw(_around()) + draw(st.sampled_from(["bob:", ":", "", "a@b:"]))
    at = draw(st.sampled_from(["@", "%40", "\uff20", "\ufe6b", "@@"]))
    host = draw(st.sampled_from(["quay.io", "quay.io:5000/", "", "[::1]", "quay.io/a@sha256:0"]))
    return f"{scheme}{user}{draw(_around())}{CANARY}{draw(_around())}{at}{host}"


_PATHS = [
    *("spec.upstreamUrl", "spec.masqueradeUrl", "spec.credentialsSecret", "spec", "metadata.name", "spec.ttl"),
    *(f"{CLAIM}.resources.requests", f"{CLAIM}.accessModes", "spec.volumeClaimTemplate.metadata.labels"),
]


@pytest.mark.parametrize("path", _PATHS)
@given(url=_urls_with_a_password())
def test_message_never_contains_password(path: str, url: str) -> None:
    """The value appears as text, in a list, as a key and as a value."""
    variants: list[object] = [url, [url], {"url": url}, {url: None}, [[url]], url * 9, "x" * 70 + url]
    messages = "\n".join(str(p) for value in variants for p in validate(a_mirror().having(path, value).raw()))
    assert CANARY not in messages
    assert "bob" not in messages


@pytest.mark.parametrize("path", ["spec.upstreamUrl", "spec.credentialsSecret", "spec.masqueradeUrl", "metadata.name"])
def test_message_hides_misplaced_credentials(path: str) -> None:
    """Users sometimes write the Secret's content instead of its name."""
    (error,) = validate(a_mirror().having(path, {"username": "bob", "password": CANARY}).raw())
    assert '{"username": ..., "password": ...}' in error.message
    assert CANARY not in error.message


@given(_urls_with_a_password())
def test_url_with_password_is_refused(url: str) -> None:
    assert [error.path for error in validate(a_mirror().of(url).raw())] == ["spec.upstreamUrl"]
