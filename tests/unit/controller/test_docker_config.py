"""Read accounts from Secrets of the type kubernetes.io/dockerconfigjson."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import upstream
from controller.objects.docker_config import account_of

if TYPE_CHECKING:
    from common.types import Json

BOB = {"username": "bob", "password": "pa:ss", "auth": "Ym9iOnBhOnNz"}
FOUND = ("Ym9i", "cGE6c3M=")
NONE = ("", "")


def a_secret(document: Any) -> Json:
    """Return a Secret as `kubectl create secret docker-registry` makes it."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": base64.b64encode(text).decode()}}


def account(registry: str, server: str, entry: Any = BOB) -> tuple[str, str]:
    """Return the account for a registry from a Secret with one entry."""
    return account_of(a_secret({"auths": {server: entry}}), upstream.parse(registry))


@pytest.mark.parametrize(
    ("registry", "server", "expected"),
    [
        ("quay.io", "quay.io", FOUND),
        ("quay.io", "https://quay.io", FOUND),
        ("quay.io", "https://quay.io/v2/", FOUND),
        ("https://quay.io:443", "QUAY.io", FOUND),
        ("hub.docker.com", "https://index.docker.io/v1/", FOUND),
        ("registry-1.docker.io", "docker.io", FOUND),
        ("reg.example.com:5000", "reg.example.com:5000", FOUND),
        ("[fd00::1]:5000", "[fd00::1]:5000", FOUND),
        ("reg.example.com:5000", "reg.example.com", NONE),
        ("quay.io", "https://index.docker.io/v1/", NONE),
        ("quay.io", "quay.io/team", NONE),
        ("quay.io", "*.io", NONE),
        # An account for https is not sent in clear text.
        ("http://quay.io", "quay.io", NONE),
        ("http://reg.example.com:5000", "reg.example.com:5000", NONE),
        ("http://reg.example.com:5000", "http://reg.example.com:5000", FOUND),
    ],
)
def test_entry_of_the_upstream_is_used(registry: str, server: str, expected: tuple[str, str]) -> None:
    assert account(registry, server) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": BOB["auth"]}, FOUND),
        ({"username": "bob", "password": "pa:ss"}, FOUND),
        ({"auth": "?", "username": "bob", "password": "pa:ss"}, FOUND),
        ({"username": "bob"}, ("Ym9i", "")),
        ({"identitytoken": "x"}, NONE),
        ("text", NONE),
    ],
)
def test_account_of_an_entry(entry: Any, expected: tuple[str, str]) -> None:
    assert account("quay.io", "quay.io", entry) == expected


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"[" * 5000, {"auths": []}, {}])
def test_damaged_secret_has_no_account(document: Any) -> None:
    assert account_of(a_secret(document), upstream.parse("quay.io")) == NONE
    assert account_of({"type": "x"}, upstream.parse("quay.io")) == NONE


json_values = st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.dictionaries(st.text(), inner))


@given(json_values)
def test_any_document_is_read(document: Any) -> None:
    user, password = account_of(a_secret({"auths": document}), upstream.parse("quay.io"))
    assert base64.b64decode(user) is not None
    assert base64.b64decode(password) is not None
