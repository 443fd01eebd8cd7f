"""Which names a mirror may take from the nodes."""

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
def test_names_that_nodes_need_for_themselves_are_reserved_whatever_is_allowed(name: str) -> None:
    for allowed in ((), (name,), ALLOWED):
        assert str(reserved_names.refusal_reason(name, allowed)).startswith("is reserved (")


@pytest.mark.parametrize("name", ["quay.io", "mylocalhost", "localhost.example.com", "kubernetes.io", "mysvc", "local"])
def test_other_names_are_free_where_no_domains_are_set(name: str) -> None:
    assert reserved_names.refusal_reason(name, ()) is None


@pytest.mark.parametrize("name", ["example.com", "a.example.com", "a.b.mirrors.internal"])
def test_names_at_and_below_an_allowed_domain_are_free(name: str) -> None:
    assert reserved_names.refusal_reason(name, ALLOWED) is None


@pytest.mark.parametrize("name", ["notexample.com", "example.com.evil.net", "com", "internal", "quay.io"])
def test_other_names_are_refused_with_the_allowed_domains(name: str) -> None:
    assert reserved_names.refusal_reason(name, ALLOWED) == (
        "is not within the domains that this cluster's administrator allows: example.com, mirrors.internal"
    )
