"""Watch a mirror with a real Prometheus: each alert fires during its fault and is resolved after it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from common import agent_protocol, cache_protocol
from controller.objects import resources
from tests.localcluster.prometheus import programs
from tests.localcluster.scraping import rules
from tests.monitoring import picture
from tests.monitoring.scene import ACCOUNT, MIRROR, NODE, grow
from tests.support.agents import free_address
from tests.support.kube import until
from tests.support.prometheus import expressions_of_dashboard

if TYPE_CHECKING:
    from tests.monitoring.scene import Scene

# Seconds until an alert follows its fault: the controller asks the caches every 10 s, and a cache asks an upstream
# that failed after 30 s at most. The rest is for a loaded machine.
FOLLOWED = 120.0
PICTURE = "MONITORING_PICTURE"  # variable with the path of the picture for docs/


# A fault is made by a function, which returns what ends it.
End = Callable[[], object]


def dead_caches(scene: Scene) -> End:
    for pod in scene.caches:
        pod.kill()
    return scene.start_caches


def unreachable_caches(scene: Scene) -> End:
    """Hide the caches from the node alone."""
    scene.agent.uses(free_address())
    return lambda: scene.agent.uses(*(each.address for each in scene.caches))


def broken_upstream(scene: Scene) -> End:
    return _change_upstream(scene, status={"": 503})


def limited_upstream(scene: Scene) -> End:
    return _change_upstream(scene, status={"": 429}, retry_after="5")


def nearly_limited_upstream(scene: Scene) -> End:
    return _change_upstream(scene, remaining=5)


def _change_upstream(scene: Scene, **changed: object) -> End:
    usual = scene.registry.does
    scene.registry.does = replace(usual, **changed)  # type: ignore[arg-type]
    return partial(setattr, scene.registry, "does", usual)


def wrong_password(scene: Scene) -> End:
    scene.change_login("wrong")
    return partial(scene.change_login, ACCOUNT["password"])


def full_volume(scene: Scene) -> End:
    filler = scene.volumes[0] / "filler"
    filler.touch()
    until(lambda: grow(filler), why="evictions give all they can", seconds=FOLLOWED)
    return filler.unlink


def no_controller(scene: Scene) -> End:
    """Stop the controller. The next one renews the certificates, which live shorter than the week of the alert."""
    scene.stop_controller()
    return scene.start_controller


FAULTS: dict[str, Callable[[Scene], End]] = {
    "RegistryMirrorCachesDown": dead_caches,
    "RegistryMirrorNotReady": dead_caches,
    "RegistryMirrorNodesBypassMirror": unreachable_caches,
    "RegistryMirrorUpstreamUnreachable": broken_upstream,
    "RegistryMirrorUpstreamRateLimited": limited_upstream,
    "RegistryMirrorUpstreamLimitNear": nearly_limited_upstream,
    "RegistryMirrorCredentialsRefused": wrong_password,
    "RegistryMirrorVolumeFull": full_volume,
    "RegistryMirrorNoLeader": no_controller,
}
CERTIFICATE = "RegistryMirrorCertificateExpiresSoon"


def test_all_pods_are_scraped(watched: Scene) -> None:
    """Series of caches and agents have the label `mirror`, those of agents also `node`."""
    pods = {"controller": 1, "webhook": 1, "caches": 2, "agents": 1}

    def up() -> dict[str, int]:
        jobs = [job.split()[0].rpartition("-")[2] for job, health in watched.prometheus.targets().items()]
        assert set(jobs) <= pods.keys()
        healthy = [health == "up" for health in watched.prometheus.targets().values()]
        return {job: jobs.count(job) for job in jobs} if all(healthy) else {}

    until(lambda: up() == pods, why=f"all targets are up: {watched.prometheus.targets()}", seconds=FOLLOWED)
    query = watched.prometheus.query
    assert query(f'registrymirror_agent_mirror_in_use{{mirror="{MIRROR}",node="{NODE}"}} == 1')
    assert {each["metric"]["mirror"] for each in query("registrymirror_cache_volume_bytes")} == {MIRROR}
    versions = query("count by (version) (registrymirror_build_info)")
    assert [each["value"][1] for each in versions] == ["5"], "one version in each of five pods"


def test_pages_pass_promtool(watched: Scene) -> None:
    """`promtool check metrics` finds nothing in the page of any program."""
    system = watched.running.system
    addresses = [f"{each.address}:{cache_protocol.STATUS_PORT}" for each in watched.caches]
    addresses += [f"127.0.0.1:{system.metrics_port}", f"{watched.agent.address}:{agent_protocol.STATUS_PORT}"]
    pages = [httpx.get(f"http://{each}/metrics", trust_env=False) for each in addresses]
    url = f"https://127.0.0.1:{system.webhook_port}/metrics"
    pages.append(httpx.get(url, verify=False, trust_env=False))  # noqa: S501 (Prometheus verifies it)
    for page in pages:
        assert page.status_code == httpx.codes.OK
        command = [str(programs() / "promtool"), "check", "metrics"]
        done = subprocess.run(command, input=page.content, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, b""), page.url


def test_short_certificate_is_reported(watched: Scene) -> None:
    """It is resolved with the controller that the last fault starts."""
    alert = watched.prometheus.until_firing(CERTIFICATE, FOLLOWED)
    assert "It expires in 4d 2" in alert["annotations"]["description"]


@pytest.mark.parametrize("name", FAULTS)
def test_alert_fires_and_is_resolved(watched: Scene, name: str) -> None:
    watched.prometheus.until_resolved(name, FOLLOWED)
    began, end = time.time(), FAULTS[name](watched)
    try:
        alert = watched.prometheus.until_firing(name, FOLLOWED)
        if "mirror" in alert["labels"]:
            assert alert["labels"]["mirror"] == MIRROR
        assert "<" not in alert["annotations"]["description"], "each template has a value"
        watched.faults.append(picture.Fault(name, began, time.time()))
    finally:
        end()
    watched.prometheus.until_resolved(name, FOLLOWED)


def test_renewed_certificate_resolves_its_alert(watched: Scene) -> None:
    watched.prometheus.until_resolved(CERTIFICATE, FOLLOWED)


def test_each_alert_has_a_fault() -> None:
    assert {*FAULTS, CERTIFICATE} == {rule["alert"] for group in rules()["groups"] for rule in group["rules"]}


def test_standby_reports_no_mirror(watched: Scene) -> None:
    port = watched.running.system.start_controller("controller-standby")
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text.splitlines()
    ours = {line for line in lines if line.startswith("registrymirror_") and "_duration_seconds" not in line}
    watched.running.system.processes.stop(["controller-standby"])
    assert "registrymirror_leader_election_master_status 0.0" in ours
    assert not any(f'name="{MIRROR}"' in line or "workqueue" in line for line in ours), ours


def test_dashboard_has_data(watched: Scene) -> None:
    """Each expression returned data during the tests of this module."""
    step = max(1.0, (time.time() - watched.began) / 500)
    empty = [each for each in expressions_of_dashboard() if not watched.prometheus.points(each, watched.began, step)]
    assert empty == []
    if path := os.environ.get(PICTURE):
        Path(path).write_text(picture.of(watched.prometheus, watched.began, watched.faults))


def test_mirror_is_ready_in_the_end(watched: Scene) -> None:
    watched.running.kube.until_condition(MIRROR, "Ready", "True", "Ready", seconds=FOLLOWED)
    assert watched.running.kube.get(resources.MIRROR, MIRROR)["status"]["nodes"]["ready"] == 1
