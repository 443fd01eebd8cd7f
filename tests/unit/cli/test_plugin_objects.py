from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cli import objects
from cli.commands import events, nodes, status, version
from common import names

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_names_are_those_of_the_controller() -> None:
    assert f"{names.PLURAL}.{names.GROUP}" == objects.MIRRORS
    assert (names.MIRROR_LABEL, names.REGISTRY, names.HOSTESS) == (
        objects.MIRROR_LABEL,
        objects.CACHE,
        objects.AGENT,
    )
    assert (names.PREFIX, f"{names.APP_LABEL}={names.APP}") == (objects.PREFIX, objects.OBJECTS)
    assert objects.selector("a", names.REGISTRY) == names.selector(names.pod_labels("a", names.REGISTRY))
    assert events.KIND == names.KIND


@pytest.mark.parametrize(
    ("kind", "name", "mirrors"),
    [
        ("RegistryMirror", "a", {"a"}),
        ("RegistryMirror", "a-b", {"a-b"}),
        ("StatefulSet", "registry-mirror-a", {"a"}),
        ("StatefulSet", "registry-mirror-a-b", {"a-b"}),
        ("Pod", "registry-mirror-a-0", {"a"}),
        ("Pod", "registry-mirror-a-bc", {"a"}),
        ("PersistentVolumeClaim", "image-store-registry-mirror-a-b-0", {"a-b"}),
        ("Pod", "registry-mirror-ab-0", set()),
        ("Pod", "registrymirror-controller-5d", set()),
    ],
)
def test_events_of_objects_concern_the_mirror(kind: str, name: str, mirrors: set[str]) -> None:
    event = {"involvedObject": {"kind": kind, "name": name}}
    existing = ("a", "a-b")
    assert {each for each in existing if events.concerns(event, each, existing)} == mirrors


def test_last_state_of_an_agent_is_found() -> None:
    log = (
        '{"event": "node state changed", "state": "pending", "reason": "Starting", "message": "m"}\n'
        '{"event": "node state changed", "state": "blocked", "reason": "HostsFileUnwritable", "message": "read-only"}\n'
        "Traceback\n[]\n"
    )
    assert nodes.last_state(log) == {"state": "blocked", "reason": "HostsFileUnwritable", "message": "read-only"}
    assert nodes.last_state("")["reason"] == "Starting"


@pytest.mark.parametrize(
    ("caches", "reason"), [([], "MirrorAway"), (["False"], "MirrorAway"), (["False", "True"], "Configured")]
)
def test_ready_agent_without_cache_waits_for_one(caches: list[str], reason: str) -> None:
    pods = [{"status": {"conditions": [{"type": "Ready", "status": each}]}} for each in caches]
    assert nodes.state_of_ready(pods)["reason"] == reason


def mirror(**changes: Any) -> dict[str, Any]:
    """Return a mirror whose latest spec was processed."""
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "It works."}
    return {
        "metadata": {"name": "a", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z", **changes},
        "spec": {"upstreamUrl": "quay.io", "replicas": 2},
        "status": {"observedGeneration": 2, "conditions": [ready], "nodes": {"ready": 1, "desired": 3}},
    }


def test_summary_counts_caches_and_nodes() -> None:
    found = status.summary(mirror(), NOW)
    assert (found["ready"], found["reason"], found["age"]) == ("True", "Ready", "24h")
    assert (found["cache"], found["nodes"]) == ({"ready": 0, "desired": 2}, {"ready": 1, "desired": 3})


def test_summary_of_a_changed_spec_is_unknown() -> None:
    """The conditions are those of the former spec."""
    found = status.summary(mirror(generation=3), NOW)
    assert (found["ready"], found["reason"]) == ("Unknown", "NotProcessed")


def test_summary_of_a_deleted_mirror_is_deleting() -> None:
    assert status.summary(mirror(deletionTimestamp="2026-01-01T00:00:00Z"), NOW)["reason"] == "Deleting"


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("host:5000/a/cache:0.1.0", "0.1.0"),
        ("host:5000/a/cache", ""),
        ("host/cache@sha256:0123456789abcdef0", "sha256:0123456789ab"),
        ("host/cache:1@sha256:0123", "1"),
    ],
)
def test_version_is_the_tag_or_digest(image: str, shown: str) -> None:
    assert version.version_of(image) == shown


def test_version_of_a_digest_is_labelled() -> None:
    """Images of a released chart have a digest and no tag."""
    image = "host/cache@sha256:0123"
    metadata = {"name": "registry-mirror-a", "labels": {"app.kubernetes.io/version": "0.1.0"}}
    containers = {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}
    (found,) = version.programs([{"kind": "StatefulSet", "metadata": metadata, **containers}])
    assert found == {"program": "cache", "version": "0.1.0", "image": image, "objects": 1}
