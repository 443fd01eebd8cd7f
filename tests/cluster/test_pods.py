"""Test that a namespace with Pod Security admits the pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.objects import resources
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from tests.support.kube import Kube

POD = resources.Kind("v1", "pods", "Pod")
STRICT = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


def test_cache_pods_pass_restricted_standard(kube: Kube, name: str) -> None:
    """Use a server-side dry run in a namespace that enforces it. A second pod proves the enforcement."""
    kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    template = kube.until_there(resources.STATEFUL_SET, f"registry-mirror-{name}")["spec"]["template"]
    kube.kubectl("create", "namespace", name)
    kube.kubectl("label", "namespace", name, *(f"{key}={value}" for key, value in STRICT.items()))
    claim = {"name": "image-store", "persistentVolumeClaim": {"claimName": "image-store"}}
    spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], claim]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": name}, "spec": spec}
    try:
        kube.kubectl("create", "serviceaccount", "default", "--namespace", name)
        output = kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=pod)
        assert output == f"pod/{name} created (server dry run)\n"
        loose = {**pod, "spec": {**spec, "securityContext": {}}}
        assert "violates PodSecurity" in kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=loose)
    finally:
        kube.kubectl("delete", "namespace", name, "--wait=false")
