"""What the API server stores otherwise than it was sent, because of somebody's admission webhook or policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller import kinds
from controller.apply import Applied, Applier
from controller.cluster import Cluster as Door
from controller.connection import load_configuration
from controller.contest import Contest
from controller.desired import desired_objects
from controller.state import State
from controller.stopwatches import Stopwatches
from tests.support import policies
from tests.support.controller import facts, judged, settings
from tests.support.kube import NAMESPACE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running

Json = dict[str, Any]
SERVICE = "registry-mirror-docker"


async def test_it_is_told_once_and_tried_again_until_whoever_changes_it_goes(fresh: Callable[..., Running]) -> None:
    running = fresh(controllers=False)
    kube = running.kube
    relabels = "Object{metadata: Object.metadata{labels: {'app': 'theirs'}}}"  # in the place of one of ours
    policies.alter(kube, "plain", policies.rule("", "services", "CREATE", "UPDATE"), relabels)
    body = {"metadata": {"name": "probe"}, "spec": {"ports": [{"port": 1}]}}

    def altering() -> bool:
        return "labels" in kube.create(kinds.SERVICE, body, dryRun="All")["metadata"]

    until(altering, why="the policy is in force")
    mirror, now = judged(), 0.0
    made = desired_objects(mirror, settings(NAMESPACE=NAMESPACE), facts())
    objects = [each for each in made if each[1]["metadata"]["name"] == SERVICE and each[0] is kinds.SERVICE]
    async with Door(await load_configuration(str(running.cluster.kubeconfig))) as door:
        applier = Applier(door, NAMESPACE, State(lambda _: None), Contest(), Stopwatches(), lambda: now)

        async def kept() -> Applied:
            applied = Applied()
            await applier.keep(mirror, objects, applied)
            return applied

        first = await kept()
        assert first.altered[f"Service {SERVICE}"] == ["metadata.labels.app"]
        assert first.altered_for == 0.0
        now = 240.0
        again = await kept()
        assert (again.altered, again.repaired, again.altered_for) == ({}, {}, now)
        policies.lift(kube, "plain", policies.ALTERING)
        until(lambda: not altering(), why="the policy is gone")
        last = await kept()
        assert (list(last.repaired), last.altered_for) == ([f"Service {SERVICE}"], None)
    assert kube.get(kinds.SERVICE, SERVICE)["metadata"]["labels"]["app"] == "docker-registry"
