"""Two users do anything to their mirrors, and anything fails meanwhile: it ends in the state that a model predicts."""

from __future__ import annotations

import base64
import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from controller.objects import resources, well_known
from tests.support.faults import CHILDREN, complete, events_of, normal_form
from tests.support.kube import Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running
    from tests.support.chaos import Chaos

MIRRORS = 5  # of each user
SECRETS = 2
# Seconds that a request may take to be answered at all: an API server that is killed is back within a few.
PATIENCE = 90.0
# Seconds until all is as predicted, once all faults are over: a leader's lease, half minutes for what was broken again
# and again and is put right more rarely, and a busy machine.
SETTLED = 120.0
# Seconds until Kubernetes has collected what deleted mirrors have left: twenty requests a second, and a mirror that was
# deleted has a dozen objects with two requests each. After a quarter of an hour it is thousands behind.
COLLECTED = 600.0
# What somebody may do to an object that was made for a mirror; all of it is to be put right.
BREAKS: tuple[tuple[Kind, str, Json], ...] = (
    (resources.SECRET, "", {"data": {well_known.CONFIGURATION: ""}}),
    (resources.SERVICE, "", {"spec": {"sessionAffinity": "None"}}),
    (resources.SERVICE, "-headless", {"metadata": {"labels": {"app": "mine"}}}),
    (resources.BUDGET, "", {"spec": {"maxUnavailable": 0}}),
    (resources.STATEFUL_SET, "", {"spec": {"replicas": 0}}),
    (resources.DAEMON_SET, "", {"metadata": {"labels": {"app": "mine"}}}),
)


@dataclass
class Model:
    """What there should be: of each mirror its spec, of each Secret its password. Pure."""

    mirrors: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def objects(self) -> set[str]:
        """Names that the objects of the mirrors have."""
        return {f"registry-mirror-{name}{suffix}" for name in self.mirrors for suffix in ("", "-headless")}

    def password(self, name: str) -> str | None:
        """What the cache of a mirror should log in with."""
        return self.secrets.get(self.mirrors[name].get("credentialsSecret") or "")


def built(name: str, spec: Json) -> MirrorBuilder:
    """The mirror of that spec, in which NAME stands for its name."""
    builder = a_mirror().named(name)
    for key, value in spec.items():
        if value is not None:
            builder = builder.having(f"spec.{key}", value.replace("NAME", name) if isinstance(value, str) else value)
    return builder


class User:
    """One who does things to mirrors and Secrets of their own, by chance alone, and to objects of anybody's."""

    def __init__(self, running: Running, name: str, seed: str, log: Callable[..., None]) -> None:
        self.name, self.model, self.log, self.count = name, Model(), log, 0
        self.dice = random.Random(seed)  # noqa: S311 (no secret)
        self.kube = Kube(running.cluster)
        self.names = [f"{name}-{number}" for number in range(MIRRORS)]

    def live(self, over: threading.Event) -> None:
        """Does one thing after the other, until it is over."""
        deeds: tuple[Callable[[str], None], ...] = (
            self._create,
            self._create,
            self._change,
            self._change,
            self._label,
            self._break_child,
        )
        deeds = (*deeds, self._delete_child, self._delete, self._recreate, self._secret, self._secret)
        while not over.is_set():
            self.dice.choice(deeds)(self.dice.choice(self.names))
            self.count += 1
            over.wait(self.dice.uniform(0.0, 0.4))
        self.kube.close()

    def _create(self, name: str) -> None:
        if name not in self.model.mirrors:
            spec = {"upstreamUrl": "NAME.example.com", **self._some()}
            self.log(self.name, "create", name, spec)
            self.sure("POST", resources.MIRROR.path(None), built(name, spec).raw())
            self.model.mirrors[name] = spec

    def _some(self) -> Json:
        """Some fields of a spec; None takes one out."""
        choices: dict[str, list[Any]] = {
            "upstreamUrl": ["NAME.example.com", "NAME-2.example.com", "http://NAME.example.com:5000"],
            "replicas": [1, 2, 3],
            "ttl": ["24h", "168h"],
            "masqueradeUrl": [None, "NAME.local.example.com"],
            "credentialsSecret": [None, *(f"{self.name}-s{number}" for number in range(SECRETS))],
        }
        return {key: self.dice.choice(choices[key]) for key in self.dice.sample(sorted(choices), 2)}

    def _change(self, name: str) -> None:
        if name in self.model.mirrors:
            some = self._some()
            self.log(self.name, "change", name, some)
            spec = {
                key: value.replace("NAME", name) if isinstance(value, str) else value for key, value in some.items()
            }
            self.sure("PATCH", resources.MIRROR.path(None, name), {"spec": spec})
            self.model.mirrors[name] |= some

    def _label(self, name: str) -> None:
        if name in self.model.mirrors:
            label = {"mood": self.dice.choice(["good", "bad"])}
            self.log(self.name, "label", name, label)
            self.sure("PATCH", resources.MIRROR.path(None, name), {"metadata": {"labels": label}})

    def _delete(self, name: str) -> None:
        if name in self.model.mirrors:
            self.log(self.name, "delete", name)
            self.sure("DELETE", resources.MIRROR.path(None, name))
            del self.model.mirrors[name]
            until(
                lambda: self.sure("GET", resources.MIRROR.path(None, name)) == 404, why=f"{name} goes", seconds=PATIENCE
            )

    def _recreate(self, name: str) -> None:
        self._delete(name)
        self._create(name)

    def _break_child(self, name: str) -> None:
        kind, suffix, change = self.dice.choice(BREAKS)
        self.log(self.name, "break", kind.name, name + suffix)
        self.sure("PATCH", kind.path("registry-mirror", f"registry-mirror-{name}{suffix}"), change)

    def _delete_child(self, name: str) -> None:
        kind, suffix = self.dice.choice(CHILDREN)
        self.log(self.name, "delete child", kind.name, name + suffix)
        self.sure("DELETE", kind.path("registry-mirror", f"registry-mirror-{name}{suffix}"))

    def _secret(self, _: str) -> None:
        name, there = f"{self.name}-s{self.dice.randrange(SECRETS)}", self.dice.random() < 0.7
        password = f"password {self.dice.randrange(1000)}"
        self.log(self.name, "secret", name, password if there else "deleted")
        if not there:
            self.sure("DELETE", resources.SECRET.path("registry-mirror", name))
            self.model.secrets.pop(name, None)
            return
        data = {
            key: base64.b64encode(text.encode()).decode() for key, text in (("username", "u"), ("password", password))
        }
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        if self.sure("POST", resources.SECRET.path("registry-mirror"), body) == 409:
            self.sure("PATCH", resources.SECRET.path("registry-mirror", name), {"data": data})
        self.model.secrets[name] = password

    def sure(self, verb: str, path: str, body: Json | None = None) -> int:
        """The status of an answer that says what is so: asked again while the API server or the webhook is away.

        All that is asked sets a state, so that asking twice changes nothing.
        """
        limit = time.monotonic() + PATIENCE
        headers = {"Content-Type": f"application/{'merge-patch+' if verb == 'PATCH' else ''}json"}
        while True:
            try:
                response = self.kube.http.request(
                    verb, path, content=json.dumps(body) if body else None, headers=headers
                )
            except httpx.TransportError as error:
                why = str(error)
            else:
                if response.status_code not in (429, 500, 502, 503, 504):
                    assert response.is_success or response.status_code in (404, 409), response.text
                    return response.status_code
                why = response.text
            assert time.monotonic() < limit, why
            time.sleep(0.1)


class Faults:
    """What fails beside the users, one thing after the other."""

    def __init__(self, running: Running, seed: str, log: Callable[..., None]) -> None:
        self.running, self.log, self.count = running, log, 0
        self.dice = random.Random(seed)  # noqa: S311 (no secret)

    def happen(self, over: threading.Event) -> None:
        """Until it is over; whatever was broken runs then."""
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
        time.sleep(seconds)  # so long it is stopped
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


def test_random_operations_of_two_users_beside_random_faults_end_as_a_model_predicts(
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
                time.sleep(0.5)  # the time that all this goes on for
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
        _as_made_undisturbed(running, model)
    except AssertionError as error:
        raise AssertionError(f"{error}\nWhat was done is in {path}.") from error
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
    """Waits for one thing after the other, for all of them together not longer than so many seconds."""
    limit = time.monotonic() + seconds

    def soon(look: Callable[[], object], why: str) -> None:
        until(look, why=why, seconds=max(5.0, limit - time.monotonic()))

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
        soon(lambda name=name: _owned(kube, name), f"all of {name} belongs to the mirror of now")  # type: ignore[misc]


def _nothing_else_is_left(running: Running, model: Model) -> None:
    kube, soon = running.kube, _soon(COLLECTED)
    for kind in resources.CHILDREN:
        soon(lambda kind=kind: _names(kube, kind) <= model.objects(), f"no {kind.name} is left of a deleted one")  # type: ignore[misc]


def _as_made_undisturbed(running: Running, model: Model) -> None:
    kube, soon = running.kube, _soon(SETTLED)
    for name, spec in model.mirrors.items():
        twin = f"twin-{name}"
        kube.mirror(built(twin, spec))
        soon(lambda twin=twin: complete(kube, twin), f"{twin}, made undisturbed, is complete")  # type: ignore[misc]
        same = lambda name=name, twin=twin: normal_form(kube, name) == normal_form(kube, twin)  # noqa: E731
        soon(same, f"{name} is as one that was made undisturbed")
    crashed = [each for each in ("controller", "controller-2") if "reconcile crashed" in events_of(running, each)]
    assert crashed == []


def _owned(kube: Kube, name: str) -> bool:
    uid = kube.get(resources.MIRROR, name)["metadata"]["uid"]
    found = [kube.find(kind, f"registry-mirror-{name}{suffix}") for kind, suffix in CHILDREN]
    return all(each and each["metadata"]["ownerReferences"][-1]["uid"] == uid for each in found)


def _names(kube: Kube, kind: Kind) -> set[str]:
    return {each["metadata"]["name"] for each in kube.every(kind, labelSelector="app=docker-registry")}


def _uses(kube: Kube, name: str, model: Model) -> bool:
    """Whether what is mounted into the cache of a mirror is what its spec and its Secret say."""
    data = kube.get(resources.SECRET, f"registry-mirror-{name}")["data"]
    texts = {key: base64.b64decode(value).decode() for key, value in data.items()}
    upstream = built(name, model.mirrors[name]).raw()["spec"]["upstreamUrl"]
    url = upstream if "://" in upstream else f"https://{upstream}"
    password = model.password(name)
    held = texts.get(well_known.CREDENTIALS, "")
    right = password in held if password else "password " not in held
    return f'"{url}"' in texts[well_known.CONFIGURATION] and right
