"""Test random operations of two users during random faults against a model of the final state."""

from __future__ import annotations

import base64
import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from common.upstream import parse
from controller.objects import resources, well_known
from tests.support.faults import CHILDREN, complete, events_of, normal_form
from tests.support.kube import until
from tests.support.random_users import Model, User, built

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos
    from tests.support.kube import Kube

# Seconds from the last fault until the objects are as predicted: a lease, rare repairs (each half minute), a reserve.
SETTLED = 120.0
# Seconds for the garbage collector. It sends 20 requests a second, and a deleted mirror needs two dozen.
COLLECTED = 600.0


class Faults:
    """Cause random faults, one after the other."""

    def __init__(self, running: Running, seed: str, log: Callable[..., None]) -> None:
        self.running, self.log, self.count = running, log, 0
        self.dice = random.Random(seed)  # noqa: S311 (no secret)

    def happen(self, over: threading.Event) -> None:
        """Cause faults until it is over; then all programs run."""
        while not over.wait(self.dice.uniform(2.0, 8.0)):
            self.dice.choice(
                (self._controller_dies, self._controller_stops, self._api_server_dies, self._webhook_dies)
            )()
            self.count += 1

    def _controller_dies(self) -> None:
        name, system = self.dice.choice(["controller", "controller-2"]), self.running.system
        self.log("fault", "killed", name)
        system.processes.kill(name, signal.SIGKILL)
        until(lambda: not system.processes.alive(name), why="it is dead")
        system.launch_controller(name)

    def _controller_stops(self) -> None:
        name, seconds = self.dice.choice(["controller", "controller-2"]), self.dice.uniform(0.5, 20.0)
        self.log("fault", "stopped", name, seconds)
        self.running.system.processes.kill(name, signal.SIGSTOP)
        time.sleep(seconds)  # seconds suspended
        self.running.system.processes.kill(name, signal.SIGCONT)

    def _api_server_dies(self) -> None:
        self.log("fault", "killed", "API server")
        self.running.cluster.kill_apiserver()
        self.running.cluster.start_apiserver()

    def _webhook_dies(self) -> None:
        self.log("fault", "killed", "webhook")
        self.running.system.processes.kill("webhook", signal.SIGKILL)
        until(lambda: not self.running.system.processes.alive("webhook"), why="it is dead")
        self.running.system.start_webhook()


def test_random_operations_end_as_predicted(
    running: Running, chaos: Chaos, dice: random.Random, minutes: float, tmp_path: Path
) -> None:
    running.system.launch_controller("controller-2")
    path, began, over = tmp_path / "operations.jsonl", time.monotonic(), threading.Event()
    with path.open("w", buffering=1) as file:

        def log(*what: object) -> None:
            file.write(f"{json.dumps([round(time.monotonic() - began, 2), *what])}\n")

        users = [User(running, name, str(dice.random()), log) for name in ("alice", "bruno")]
        faults = Faults(running, str(dice.random()), log)
        with ThreadPoolExecutor(3) as pool:
            lives = [pool.submit(user.live, over) for user in users]
            lives.append(pool.submit(faults.happen, over))
            while not any(life.done() for life in lives) and time.monotonic() - began < 60 * minutes:
                time.sleep(0.5)  # the duration of the test
            over.set()
        for life in lives:
            life.result()
    model = Model({"undisturbed": {"upstreamUrl": "NAME.example.com"}})
    for user in users:
        model.mirrors |= user.model.mirrors
        model.secrets |= user.model.secrets
    ended = time.monotonic()
    try:
        _as_predicted(running, model)
        settled = time.monotonic()
        _nothing_else_is_left(running, model)
        collected = time.monotonic() - ended
        _equal_undisturbed(running, model)
    except AssertionError as error:
        raise AssertionError(f"{error}\nThe operations are in {path}.") from error
    operations = sum(user.count for user in users)
    note = (
        f"{operations} operations of two users, {faults.count} faults, {len(model.mirrors)} mirrors at the end;"
        f" Kubernetes had collected all else after {collected:.0f} s"
    )
    chaos.row(
        f"{minutes:.0f} minutes of anything",
        lost=f"0 of {len(model.mirrors)} mirrors",
        recovered=settled - ended,
        note=note,
    )


def _soon(seconds: float) -> Callable[[Callable[[], object], str], None]:
    """Return a function that waits for conditions, for all of them together `seconds` at most."""
    limit = time.monotonic() + seconds

    def soon(condition: Callable[[], object], why: str) -> None:
        until(condition, why=why, seconds=max(5.0, limit - time.monotonic()))

    return soon


def _as_predicted(running: Running, model: Model) -> None:
    kube, soon = running.kube, _soon(SETTLED)
    found = {each["metadata"]["name"] for each in kube.every(resources.MIRROR)}
    assert found == set(model.mirrors)
    for name, spec in model.mirrors.items():
        soon(lambda name=name: complete(kube, name), f"{name} is complete")  # type: ignore[misc]
        stored = kube.get(resources.MIRROR, name)["spec"]
        wanted = built(name, spec).raw()["spec"]
        assert {key: stored.get(key) for key in spec} == {key: wanted.get(key) for key in spec}, name
        soon(lambda name=name: _uses(kube, name, model), f"{name}'s cache has its upstream and its password")  # type: ignore[misc]
        soon(lambda name=name: _owned(kube, name), f"all objects of {name} belong to the present mirror")  # type: ignore[misc]


def _nothing_else_is_left(running: Running, model: Model) -> None:
    kube, soon = running.kube, _soon(COLLECTED)
    for kind in resources.CHILDREN:
        soon(lambda kind=kind: _names(kube, kind) <= model.objects(), f"no {kind.name} is left of a deleted one")  # type: ignore[misc]


def _equal_undisturbed(running: Running, model: Model) -> None:
    kube, soon = running.kube, _soon(SETTLED)
    for name, spec in model.mirrors.items():
        twin = f"twin-{name}"
        kube.mirror(built(twin, spec))
        soon(lambda twin=twin: complete(kube, twin), f"{twin}, undisturbed, is complete")  # type: ignore[misc]
        same = lambda name=name, twin=twin: normal_form(kube, name) == normal_form(kube, twin)  # noqa: E731
        soon(same, f"{name} equals an undisturbed one")
    crashed = [each for each in ("controller", "controller-2") if "reconcile crashed" in events_of(running, each)]
    assert crashed == []


def _owned(kube: Kube, name: str) -> bool:
    uid = kube.get(resources.MIRROR, name)["metadata"]["uid"]
    found = [kube.find(kind, f"registry-mirror-{name}{suffix}") for kind, suffix in CHILDREN]
    return all(each and each["metadata"]["ownerReferences"][-1]["uid"] == uid for each in found)


def _names(kube: Kube, kind: Kind) -> set[str]:
    return {each["metadata"]["name"] for each in kube.every(kind, labelSelector="app=docker-registry")}


def _uses(kube: Kube, name: str, model: Model) -> bool:
    """Return True if the cache is configured with the upstream and the password of the model."""
    data = kube.get(resources.SECRET, f"registry-mirror-{name}")["data"]
    texts = {key: base64.b64decode(value).decode() for key, value in data.items()}
    upstream = built(name, model.mirrors[name]).raw()["spec"]["upstreamUrl"]
    url = upstream if "://" in upstream else f"https://{upstream}"
    password = model.password(name)
    _, key = well_known.credentials_keys(parse(url).directory)
    right = texts.get(key, "") == (password or "")
    return f'"{url}"' in texts[well_known.CONFIGURATION] and right
