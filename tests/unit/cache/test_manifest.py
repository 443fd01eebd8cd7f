"""Media types and descriptors of manifests."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.model.manifest import (
    OCI_INDEX,
    OCI_MANIFEST,
    SIGNED_SCHEMA_1,
    descriptors_in,
    is_manifest,
    media_type_in,
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"mediaType": "a/b"}, "a/b"),
        ({"manifests": []}, OCI_INDEX),
        ({"config": {}, "layers": []}, OCI_MANIFEST),
        ({"schemaVersion": 1, "signatures": []}, SIGNED_SCHEMA_1),
        ({"schemaVersion": 2}, ""),
        ({"mediaType": "a\r\nb"}, ""),
        ([], ""),
    ],
)
def test_media_type_of_content(document: object, expected: str) -> None:
    """The content names its type, or implies it."""
    assert media_type_in(json.dumps(document).encode()) == expected


@pytest.mark.parametrize(
    ("document", "named", "expected"),
    [
        ({"schemaVersion": 2}, "application/json", True),
        ({"schemaVersion": 2}, "text/plain", True),
        ({"config": {}, "layers": []}, "application/json; charset=utf-8", True),
        ({"mediaType": "application/vnd.example+json"}, "application/json", True),
        ({"other": 1}, "application/vnd.example+json", True),
        ({"other": 1}, "application/vnd.example+json; charset=utf-8", True),
        ({"other": 1}, SIGNED_SCHEMA_1, True),
        ({"status": "UP"}, "application/json", False),
        ({"mediaType": "a/b"}, "application/json", False),
        ({"other": 1}, "application/problem+json", False),
        ({"other": 1}, "", False),
        ([], "application/json", False),
    ],
)
def test_manifest_is_recognized(document: object, named: str, *, expected: bool) -> None:
    """JSON alone is no manifest: content or header name a type or a version of the schema."""
    assert is_manifest(json.dumps(document).encode(), named) is expected


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_any_document_is_read(document: object) -> None:
    """No JSON document raises."""
    content = json.dumps(document).encode()
    assert list(descriptors_in(content)) == []
    media_type_in(content)
