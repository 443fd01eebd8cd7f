"""Check the host names that a mirror may take from the nodes."""

from __future__ import annotations

import pytest

from common import reserved_names

ALLOWED = ("example.com", "mirrors.internal")


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "a.localhost", "localhost.localdomain", "kubernetes", "kubernetes.default"),
        *("host.docker.internal", "control-plane.minikube.internal", "metadata.google.internal", "host.k3d.internal"),
        *("kubernetes.default.svc", "registry.tools.svc", "a.svc.cluster.local", "cluster.local"),
    ],
)
def test_reserved_name_is_refused(name: str) -> None:
    for allowed in ((), (name,), ALLOWED):
        assert str(reserved_names.refusal_reason(name, allowed)).startswith("is reserved (")


@pytest.mark.parametrize("name", ["quay.io", "mylocalhost", "localhost.example.com", "kubernetes.io", "mysvc", "local"])
def test_other_name_is_allowed_by_default(name: str) -> None:
    assert reserved_names.refusal_reason(name, ()) is None


@pytest.mark.parametrize("name", ["example.com", "a.example.com", "a.b.mirrors.internal"])
def test_name_within_allowed_domain_is_allowed(name: str) -> None:
    assert reserved_names.refusal_reason(name, ALLOWED) is None


@pytest.mark.parametrize("name", ["notexample.com", "example.com.evil.net", "com", "internal", "quay.io"])
def test_name_outside_allowed_domains_is_refused(name: str) -> None:
    assert reserved_names.refusal_reason(name, ALLOWED) == (
        "is outside the domains that the administrator allows: example.com, mirrors.internal"
    )
