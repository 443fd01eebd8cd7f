"""Run random operations of a user, and predict the state that they leave."""

from __future__ import annotations

import base64
import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from controller.objects import resources, well_known
from tests.support.faults import CHILDREN
from tests.support.kube import Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

MIRRORS = 5  # of each user
SECRETS = 2
# Seconds until a request has a response; a killed API server is back within a few.
REQUEST_LIMIT = 90.0
# Changes of a mirror's objects; the controller repairs them.
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
    """Predict the spec of each mirror and the password in each Secret."""

    mirrors: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def objects(self) -> set[str]:
        """Return the names of the mirrors' objects."""
        return {f"registry-mirror-{name}{suffix}" for name in self.mirrors for suffix in ("", "-headless")}

    def password(self, name: str) -> str | None:
        """Return the password for the cache of a mirror."""
        return self.secrets.get(self.mirrors[name].get("credentialsSecret") or "")


def built(name: str, spec: Json) -> MirrorBuilder:
    """Return a mirror with this spec, in which NAME stands for its name."""
    builder = a_mirror().named(name)
    for key, value in spec.items():
        if value is not None:
            builder = builder.having(f"spec.{key}", value.replace("NAME", name) if isinstance(value, str) else value)
    return builder


class User:
    """Change random mirrors and Secrets of one user, and objects of any mirror."""

    def __init__(self, running: Running, name: str, seed: str, log: Callable[..., None]) -> None:
        self.name, self.model, self.log, self.count = name, Model(), log, 0
        self.dice = random.Random(seed)  # noqa: S311 (no secret)
        self.kube = Kube(running.cluster)
        self.names = [f"{name}-{number}" for number in range(MIRRORS)]

    def live(self, over: threading.Event) -> None:
        """Run random operations until it is over."""
        operations: tuple[Callable[[str], None], ...] = (
            self._create,
            self._create,
            self._change,
            self._change,
            self._label,
            self._break_child,
        )
        operations = (*operations, self._delete_child, self._delete, self._recreate, self._secret, self._secret)
        while not over.is_set():
            self.dice.choice(operations)(self.dice.choice(self.names))
            self.count += 1
            over.wait(self.dice.uniform(0.0, 0.4))
        self.kube.close()

    def _create(self, name: str) -> None:
        if name not in self.model.mirrors:
            spec = {"upstreamUrl": "NAME.example.com", **self._some()}
            self.log(self.name, "create", name, spec)
            self.request("POST", resources.MIRROR.path(None), built(name, spec).raw())
            self.model.mirrors[name] = spec

    def _some(self) -> Json:
        """Return random fields of a spec; None removes a field."""
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
            self.request("PATCH", resources.MIRROR.path(None, name), {"spec": spec})
            self.model.mirrors[name] |= some

    def _label(self, name: str) -> None:
        if name in self.model.mirrors:
            label = {"mood": self.dice.choice(["good", "bad"])}
            self.log(self.name, "label", name, label)
            self.request("PATCH", resources.MIRROR.path(None, name), {"metadata": {"labels": label}})

    def _delete(self, name: str) -> None:
        if name in self.model.mirrors:
            self.log(self.name, "delete", name)
            self.request("DELETE", resources.MIRROR.path(None, name))
            del self.model.mirrors[name]
            until(
                lambda: self.request("GET", resources.MIRROR.path(None, name)) == 404,
                why=f"{name} goes",
                seconds=REQUEST_LIMIT,
            )

    def _recreate(self, name: str) -> None:
        self._delete(name)
        self._create(name)

    def _break_child(self, name: str) -> None:
        kind, suffix, change = self.dice.choice(BREAKS)
        self.log(self.name, "break", kind.name, name + suffix)
        self.request("PATCH", kind.path("registry-mirror", f"registry-mirror-{name}{suffix}"), change)

    def _delete_child(self, name: str) -> None:
        kind, suffix = self.dice.choice(CHILDREN)
        self.log(self.name, "delete child", kind.name, name + suffix)
        self.request("DELETE", kind.path("registry-mirror", f"registry-mirror-{name}{suffix}"))

    def _secret(self, _: str) -> None:
        name, exists = f"{self.name}-s{self.dice.randrange(SECRETS)}", self.dice.random() < 0.7
        password = f"password {self.dice.randrange(1000)}"
        self.log(self.name, "secret", name, password if exists else "deleted")
        if not exists:
            self.request("DELETE", resources.SECRET.path("registry-mirror", name))
            self.model.secrets.pop(name, None)
            return
        data = {
            key: base64.b64encode(text.encode()).decode() for key, text in (("username", "u"), ("password", password))
        }
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        if self.request("POST", resources.SECRET.path("registry-mirror"), body) == 409:
            self.request("PATCH", resources.SECRET.path("registry-mirror", name), {"data": data})
        self.model.secrets[name] = password

    def request(self, verb: str, path: str, body: Json | None = None) -> int:
        """Return the status of a response. Retry while the API server or the webhook is unavailable.

        All requests are idempotent.
        """
        limit = time.monotonic() + REQUEST_LIMIT
        headers = {"Content-Type": f"application/{'merge-patch+' if verb == 'PATCH' else ''}json"}
        while True:
            try:
                response = self.kube.http.request(
                    verb, path, content=json.dumps(body) if body else None, headers=headers
                )
            except httpx.TransportError as error:
                failure = str(error)
            else:
                if response.status_code not in (429, 500, 502, 503, 504):
                    assert response.is_success or response.status_code in (404, 409), response.text
                    return response.status_code
                failure = response.text
            assert time.monotonic() < limit, failure
            time.sleep(0.1)
