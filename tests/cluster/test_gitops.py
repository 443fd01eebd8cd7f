"""The health check for Argo CD, in the Lua interpreter of Argo CD, on mirrors of a real API server."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from controller.objects import resources
from tests.localcluster.node import programs
from tests.localcluster.system import REPOSITORY
from tests.support.caches import running_caches
from tests.support.faults import one
from tests.support.kube import Kube, until

if TYPE_CHECKING:
    from pathlib import Path

    from common.types import Json
    from tests.cluster.conftest import Running

PATCH = REPOSITORY / "deploy" / "gitops" / "argocd-health.yaml"
SETTING = "resource.customizations.health.k8s.osp.tech_RegistryMirror"
# Argo CD sets the global `obj`, runs the script, and reads status and message of the result.
RUN = "obj = {mirror}\nlocal health = (function()\n{script}\nend)()\nprint(health.status)\nprint(health.message)\n"


def literal(value: object) -> str:
    """Return a JSON value as Lua."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{literal(key)}] = {literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(literal, value)) + "}"
    return json.dumps(value, ensure_ascii=False)


@pytest.fixture(scope="module")
def lua() -> Path:
    """Build the interpreter."""
    return programs.build(programs.LUA)


def health(lua: Path, mirror: Json) -> tuple[str, str]:
    """Return status and message of a mirror's health."""
    script = yaml.safe_load(PATCH.read_text())["data"][SETTING]
    run = RUN.format(mirror=literal(mirror), script=script)
    done = subprocess.run([lua, "-e", run], capture_output=True, text=True, check=True)
    status, _, message = done.stdout.strip().partition("\n")
    return status, message


def test_health_follows_mirror(shared: Running, kube: Kube, name: str, lua: Path) -> None:
    """Progressing until the caches serve, Healthy then, and Progressing again after a change of the spec."""
    unseen = kube.create(resources.MIRROR, one(name).raw(), dryRun="All")
    assert health(lua, unseen) == ("Progressing", "The controller has not seen this generation yet.")
    kube.mirror(one(name))
    kube.until_condition(name, "CacheAvailable", "False", "NoReplicaReady")
    status, message = health(lua, kube.get(resources.MIRROR, name))
    assert status == "Progressing"
    assert message.startswith("NoReplicaReady: ")
    with running_caches(shared, name):
        until(lambda: kube.condition(name, "Ready")[0] == "True", why="the caches serve")
        assert health(lua, kube.get(resources.MIRROR, name))[0] == "Healthy"
    change = ("--type=merge", '--patch={"spec": {"ttl": "1h"}}', "--dry-run=server", "--output=json")
    changed = kube.kubectl("patch", "rm", name, *change)
    assert health(lua, json.loads(changed)) == ("Progressing", "The controller has not seen this generation yet.")


def test_health_of_stalled_mirror(kube: Kube, name: str, lua: Path) -> None:
    kube.mirror(one(name).known_as(f"{name}.example.org"))
    kube.until_next_second(name)
    younger = f"{name}y"
    kube.mirror(one(younger).known_as(f"{name}.example.org"))
    kube.until_condition(younger, "Stalled", "True", "MasqueradeConflict")
    status, message = health(lua, kube.get(resources.MIRROR, younger))
    assert status == "Degraded"
    assert message.startswith("MasqueradeConflict: ")
