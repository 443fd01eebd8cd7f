"""What the API server stores otherwise than it was sent, because of somebody's admission webhook or policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apply.applier import Applier
from controller.apply.conflict_limiter import ConflictLimiter
from controller.desired import desired_objects
from controller.duration_tracker import DurationTracker
from controller.informer.cluster_cache import ClusterCache
from controller.kubeclient.client import KubeClient
from controller.kubeclient.config import load_configuration
from controller.model.results import ApplyResult
from controller.objects import resources
from tests.support import policies
from tests.support.controller import inputs, judged, settings
from tests.support.kube import NAMESPACE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running

SERVICE = "registry-mirror-docker"


async def test_it_is_told_once_and_tried_again_until_whoever_changes_it_goes(fresh: Callable[..., Running]) -> None:
    running = fresh(controllers=False)
    kube = running.kube
    relabels = "Object{metadata: Object.metadata{labels: {'app': 'theirs'}}}"  # in the place of one of ours
    policies.alter(kube, "plain", policies.rule("", "services", "CREATE", "UPDATE"), relabels)
    body = {"metadata": {"name": "probe"}, "spec": {"ports": [{"port": 1}]}}

    def altering() -> bool:
        return "labels" in kube.create(resources.SERVICE, body, dryRun="All")["metadata"]

    until(altering, why="the policy is in force")
    mirror, now = judged(), 0.0
    made = desired_objects(mirror, settings(NAMESPACE=NAMESPACE), inputs())
    objects = [each for each in made if each[1]["metadata"]["name"] == SERVICE and each[0] is resources.SERVICE]
    async with KubeClient(await load_configuration(str(running.cluster.kubeconfig))) as door:
        applier = Applier(
            door, NAMESPACE, ClusterCache(lambda _: None), ConflictLimiter(), DurationTracker(), lambda: now
        )

        async def kept() -> ApplyResult:
            applied = ApplyResult()
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
    assert kube.get(resources.SERVICE, SERVICE)["metadata"]["labels"]["app"] == "docker-registry"
