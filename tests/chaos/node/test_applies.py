"""Kill the webhook's pods while clients apply mirrors: the API server stores each apply as a whole or refuses it."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from common import names
from controller.objects.resources import MIRROR, POD
from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE
from tests.support.kube import Kube

if TYPE_CHECKING:
    import random

    from common.types import Json
    from tests.support.chaos import Chaos
    from tests.support.testbed import Testbed


CLIENTS, APPLIES, MIRRORS = 4, 125, 10  # per client: applies, and mirrors that it creates and changes
REPLICAS = 2  # of the webhook
PACE = 0.15  # seconds between applies: all take 20, and pods are killed in between
WRONG_EVERY = 10  # applies: one has a ttl that only the webhook describes
WEBHOOK = "app.kubernetes.io/name=registrymirror-webhook"
DEFAULTS = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}


@dataclass
class Client:
    """A client with its own mirrors and the last accepted spec of each."""

    kube: Kube
    number: int
    accepted: dict[str, Json] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    wrong: int = 0

    def apply_all(self) -> None:
        """Run all applies in sequence and check what is stored after each."""
        due = time.monotonic()
        for turn in range(APPLIES):
            time.sleep(max(0.0, due - time.monotonic()))
            due += PACE
            self._apply(turn)

    def _apply(self, turn: int) -> None:
        name, is_wrong = f"applied-{self.number}-{turn % MIRRORS}", turn % WRONG_EVERY == WRONG_EVERY - 1
        spec = {"upstreamUrl": f"{name}.example.com", "ttl": "7d" if is_wrong else f"{turn + 1}h", "replicas": 1}
        body = {"apiVersion": MIRROR.api, "kind": MIRROR.name, "metadata": {"name": name}, "spec": spec}
        response = self.kube.http.patch(
            MIRROR.path(None, name),
            params={"fieldManager": f"client-{self.number}", "force": "true"},
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        if response.is_success:
            assert not is_wrong, response.text
            self.accepted[name] = spec
        else:
            self._refused(response, is_wrong=is_wrong)
        current = self.kube.find(MIRROR, name)
        assert (current is None) == (name not in self.accepted)
        if current is not None:
            check_whole(current, self.accepted[name])

    def _refused(self, response: httpx.Response, *, is_wrong: bool) -> None:
        message = response.json()["message"]
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            assert is_wrong, message
            assert "spec.ttl" in message
            self.wrong += 1
        else:
            assert "failed calling webhook" in message, response.text
            self.refused.append(message)


def check_whole(current: Json, spec: Json) -> None:
    """Check that the stored mirror is the applied one with the webhook's defaults."""
    stored = dict(current["spec"])
    assert stored.pop("volumeClaimTemplate")["spec"] == DEFAULTS
    assert stored == spec
    assert current["metadata"]["labels"].items() >= {"mirror": current["metadata"]["name"], "app": names.APP}.items()


def test_applies_survive_killed_webhooks(testbed: Testbed, chaos: Chaos, dice: random.Random) -> None:
    """By SIGKILL of their processes and by deletion of one or both pods."""
    clients = [Client(Kube(testbed.node.cluster), number) for number in range(CLIENTS)]
    with testbed.without_controller(), ThreadPoolExecutor(CLIENTS) as pool:
        ended = threading.Event()
        killing = threading.Thread(target=_kill, args=(testbed, dice, ended))
        killing.start()
        try:
            for done in [pool.submit(client.apply_all) for client in clients]:
                done.result()
        finally:
            ended.set()
            killing.join()
        recovered = testbed.until(lambda: _ready(testbed) == REPLICAS, 120)
        for client in clients:
            for name, spec in client.accepted.items():
                check_whole(testbed.kube.get(MIRROR, name), spec)
                testbed.kube.delete(MIRROR, name)
            client.kube.close()
    assert all(client.accepted for client in clients)
    refused, wrong = sum(len(client.refused) for client in clients), sum(client.wrong for client in clients)
    assert wrong > 0
    kept = sum(len(client.accepted) for client in clients)
    total = CLIENTS * APPLIES
    note = f"{total} applies: {total - refused - wrong} stored, {wrong} refused by the webhook, {refused} without one"
    chaos.row("webhooks killed during applies", lost=f"0 of {kept} accepted mirrors", recovered=recovered, note=note)


def _kill(testbed: Testbed, dice: random.Random, ended: threading.Event) -> None:
    """Kill one or both in one of three ways, each time both are ready."""
    while not ended.wait(dice.uniform(0.5, 2)):
        if _ready(testbed) < REPLICAS:
            continue
        names_of_pods = [pod["metadata"]["name"] for pod in testbed.kube.every(POD, labelSelector=WEBHOOK)]
        how = dice.choice(("kill", "delete", "delete at once"))
        for name in dice.sample(names_of_pods, min(len(names_of_pods), dice.choice((1, 2)))):
            if how == "kill":
                # the pod may be gone or have no process yet
                pids = processes(testbed.node, name, NAMESPACE)
                testbed.node.run("kill", "-9", *pids, check=False)
            else:
                grace = ("--grace-period=0", "--force") if how == "delete at once" else ()
                testbed.kubectl("delete", "pod", name, "--ignore-not-found", "--wait=false", *grace, check=False)


def _ready(testbed: Testbed) -> int:
    """Return the number of ready webhook pods that are not being deleted."""
    return sum(
        any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))
        for pod in testbed.kube.every(POD, labelSelector=WEBHOOK)
        if "deletionTimestamp" not in pod["metadata"]
    )
