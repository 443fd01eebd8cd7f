"""Test the drain, and that a removal in the wrong order is refused with the command to run first."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from controller.drain import LEADERLESS_MAX
from controller.objects import resources
from tests.localcluster.system import NAMESPACE, REPOSITORY
from tests.support.kube import until
from tests.support.mirrors import a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.conftest import Running

DEPLOY = f"--kustomize={REPOSITORY / 'deploy'}"
FIRST = "first run: kubectl delete rm --all"
PROTECTED = (
    f"namespace/{NAMESPACE}",
    "crd/registrymirrors.k8s.osp.tech",
    "clusterrole/registrymirror-controller",
    "clusterrolebinding/registrymirror-hostess",
    "role/registrymirror-hostess",
    "rolebinding/registrymirror-controller",
    "serviceaccount/registrymirror-hostess",
)


def drain(running: Running, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run the drain as administrator."""
    environment = {**running.cluster.client_environment, "NAMESPACE": NAMESPACE, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "controller", "drain", f"--timeout={seconds}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def remaining(running: Running) -> list[str]:
    """Return the protected objects that are not being deleted."""
    columns = "jsonpath={.metadata.deletionTimestamp}"
    names = (each for each in PROTECTED if running.kube.kubectl("get", each, f"-n={NAMESPACE}", "-o", columns) == "")
    return list(names)


def is_refused(running: Running) -> bool:
    """Return True if the API server refuses to delete the namespace."""
    return FIRST in running.kube.kubectl("delete", "namespace", NAMESPACE, "--dry-run=server")


def test_removal_waits_for_mirrors(own: Running) -> None:
    """Mirrors go on working after a removal in the wrong order, and the printed command helps."""
    kube = own.kube
    kube.mirror(a_mirror().named("docker"))
    until(lambda: is_refused(own), why="the API server knows the policy and the mirror", seconds=60)
    printed = kube.kubectl("delete", DEPLOY, "--wait=false")
    assert printed.count(FIRST) >= len(PROTECTED), printed
    assert "the RegistryMirror docker still exists" in printed
    assert remaining(own) == list(PROTECTED)
    kube.kubectl("delete", "rm", "--all", "--timeout=60s")
    until(lambda: not is_refused(own), why="the API server knows that the mirror is gone")
    # Without this flag, kubectl does not wait: the first command has deleted some of the objects.
    kube.kubectl("delete", DEPLOY, "--ignore-not-found", "--timeout=60s")
    assert kube.kubectl("get", DEPLOY, "--ignore-not-found", "-o", "name").strip() == ""
    drained = drain(own)
    assert (drained.returncode, drained.stdout) == (0, "No RegistryMirror is left.\n")


def test_policy_protects_namespace_of_kustomize(own: Running, tmp_path: Path) -> None:
    """The `namespace` of a kustomization changes no expression of the policy."""
    kube = own.kube
    kube.mirror(a_mirror().named("docker"))
    (tmp_path / "base").symlink_to(REPOSITORY / "deploy")
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"namespace": "mirrors", "resources": ["base"]}))
    kube.kubectl("apply", f"--kustomize={tmp_path}")
    command = ("delete", "--namespace=mirrors", "--dry-run=server")
    until(lambda: FIRST in kube.kubectl(*command, "namespace/mirrors"), why="the namespace is protected", seconds=60)
    for each in ("serviceaccount/registrymirror-hostess", "role/registrymirror-controller"):
        assert FIRST in kube.kubectl(*command, each)


def test_drain_deletes_all_mirrors(renewed: Callable[..., Running]) -> None:
    own = renewed()
    for name in ("docker", "quay"):
        own.kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
    drained = drain(own)
    assert drained.returncode == 0, drained.stdout + drained.stderr
    lines = drained.stdout.splitlines()
    for name in ("docker", "quay"):
        requested = lines.index(f"Requested the deletion of RegistryMirror {name}.")
        assert lines.index(f"Deleted RegistryMirror {name}.") > requested
    assert own.kube.every(resources.MIRROR) == []


def test_drain_needs_a_controller(renewed: Callable[..., Running]) -> None:
    """It ends early, and prints how to start the controller and how to go on without."""
    own = renewed()
    own.kube.mirror(a_mirror().named("docker"))
    own.kube.patch(resources.MIRROR, "docker", {"metadata": {"finalizers": ["example.com/held"]}})
    own.system.processes.stop(["controller"])
    drained = drain(own, LEADERLESS_MAX * 4)
    assert drained.returncode == 1
    assert "Requested the deletion of RegistryMirror docker." in drained.stdout
    assert "Deleted" not in drained.stdout
    assert f"kubectl scale deployment/registrymirror-controller --replicas=2 -n {NAMESPACE}" in drained.stdout
    out = drained.stdout.splitlines()[-1].strip()
    assert out.startswith("kubectl patch rm docker ")
    own.kube.kubectl(*shlex.split(out)[1:])
    assert own.kube.every(resources.MIRROR) == []
