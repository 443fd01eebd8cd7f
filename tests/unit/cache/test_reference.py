"""Paths of the registry API."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.model.errors import RegistryError
from cache.model.reference import Kind, parse_path
from cache.store.layout import Layout

SHA = "0123456789abcdef" * 4
PARTS = st.sampled_from(
    [".", "..", "/", "%2f", "\0", "a", "A", "_tags", "sha256:", SHA, "manifests", "blobs", "tags", "list", "v2"]
)


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/v2/a/manifests/latest", Kind.MANIFEST, "a"),
        (f"/v2/a/b__c/d-e.f/manifests/sha256:{SHA}", Kind.MANIFEST, "a/b__c/d-e.f"),
        (f"/v2/manifests/blobs/blobs/sha256:{SHA}", Kind.BLOB, "manifests/blobs"),
        (f"/v2/a/blobs/sha512:{SHA}{SHA}", Kind.BLOB, "a"),
        (f"/v2/a/referrers/sha256:{SHA}", Kind.REFERRERS, "a"),
        ("/v2/a/tags/list", Kind.TAGS, "a"),
    ],
)
def test_valid_path_is_parsed(path: str, kind: Kind, name: str) -> None:
    """Kind, repository and reference come back as the same path."""
    reference = parse_path(path)
    assert (reference.kind, reference.name, reference.path) == (kind, name, path)


@given(st.lists(PARTS, max_size=12).map("".join))
def test_no_path_leaves_the_store(text: str) -> None:
    """Whatever passes the grammar stays below the directory of its upstream."""
    try:
        reference = parse_path(f"/v2/{text}")
    except RegistryError as error:
        assert error.status in (400, 404)  # noqa: PT017 (either outcome has a rule)
        return
    layout = Layout(Path("/store/x"))
    path = layout.tag(reference) if reference.digest is None else layout.blob(reference.digest)
    assert path.resolve().is_relative_to(layout.directory)
