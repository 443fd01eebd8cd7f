"""Parse stored mirrors by the rules of admission."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from controller.model.mirror import Mirror, parse_mirror
from tests.support import strategies
from tests.support.controller import UID, parsed, stored
from tests.support.mirrors import MirrorBuilder, a_mirror


@given(strategies.mirrors())
def test_valid_mirror_is_complete(builder: MirrorBuilder) -> None:
    mirror = parse_mirror(stored(builder), ())
    assert isinstance(mirror, Mirror)
    assert mirror.storage
    assert mirror.claim["spec"]["accessModes"]
    assert mirror.uid == UID


@given(strategies.damaged_mirrors())
def test_invalid_mirror_has_errors(obj: Any) -> None:
    """Only metadata is known to be valid."""
    name = obj.get("metadata", {}).get("name") if isinstance(obj.get("metadata"), dict) else None
    obj["metadata"] = {**stored()["metadata"], "name": name if isinstance(name, str) and name else "docker"}
    found = parse_mirror(obj, ())
    assert isinstance(found, Mirror) or all(problem.sentence for problem in found)


def test_mirror_gets_defaults_without_webhook() -> None:
    mirror = parsed()
    assert (mirror.spec.replicas, mirror.spec.ttl, mirror.storage) == (2, "168h", "20Gi")
    assert mirror.claim == {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}}


@pytest.mark.parametrize(
    ("written", "asked", "known"),
    [
        ("hub.docker.io", "https://registry-1.docker.io", "mirror-hub.docker.io"),
        ("docker.io", "https://registry-1.docker.io", "mirror-docker.io"),
        ("http://Registry.example:5000/", "http://registry.example:5000", "mirror-registry.example"),
    ],
)
def test_mirror_has_upstream_and_masquerade(written: str, asked: str, known: str) -> None:
    mirror = parsed(a_mirror().of(written))
    assert (mirror.upstream.url, mirror.masquerade) == (asked, known)


def test_masquerade_domains_apply_to_stored_mirrors() -> None:
    assert isinstance(parse_mirror(stored(a_mirror().known_as("a.example.com")), ("example.com",)), Mirror)
    (problem,) = parse_mirror(stored(a_mirror().known_as("a.other.com")), ("example.com",))  # type: ignore[misc]
    assert problem.path == "spec.masqueradeUrl"
