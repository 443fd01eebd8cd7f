"""Access a real API server in tests: create, change, read, and wait for a state."""

from __future__ import annotations

import base64
import json
import ssl
import time
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import yaml

from controller.objects import resources
from controller.objects.well_known import CREDENTIALS_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.types import Json
    from controller.objects.resources import Kind
    from tests.localcluster.cluster import Cluster
    from tests.support.mirrors import MirrorBuilder

T = TypeVar("T")
NAMESPACE = "registry-mirror"
# Seconds. Most states take one or two; the rest is for a loaded machine.
DEADLINE = 20.0
POLL = 0.02


def until(probe: Callable[[], T], *, why: str, seconds: float = DEADLINE) -> T:
    """Return the first true result of `probe`. Fail with `why` and the last result after the deadline."""
    limit = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < limit, f"not within {seconds:.0f} s: {why}; last seen: {found!r}"
        time.sleep(POLL)
    return found


def text(secret: Json, key: str) -> str:
    """Return a text of a Secret."""
    return base64.b64decode(secret["data"][key]).decode()


def account_keys(secret: Json) -> list[str]:
    """Return the keys of user name and password of each upstream in the Secret of a mirror."""
    return [key for suffix in CREDENTIALS_SUFFIXES for key in sorted(secret["data"]) if key.endswith(suffix)]


class Kube:
    """Plain requests to one cluster, as administrator or with another `kubeconfig`."""

    def __init__(self, cluster: Cluster, kubeconfig: Path | None = None) -> None:
        self.cluster = cluster
        config = yaml.safe_load((kubeconfig or cluster.kubeconfig).read_text())
        user = config["users"][0]["user"]
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        self.http = httpx.Client(base_url=cluster.url, verify=context, trust_env=False, timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def kubectl(self, *arguments: str, stdin: str | Json | None = None) -> str:
        """Return the output of kubectl on both streams, even if it fails."""
        text = json.dumps(stdin) if isinstance(stdin, dict) else stdin
        done = self.cluster.run_kubectl(*arguments, stdin=text, check=False)
        return done.stdout + done.stderr

    def apply(self, *objects: Json) -> str:
        """Return the output of `kubectl apply` for these objects."""
        return self.kubectl("apply", "-f", "-", stdin="---\n".join(json.dumps(each) + "\n" for each in objects))

    def find(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> Json | None:
        """Return the object, or None if it does not exist."""
        response = self.http.get(kind.path(namespace, name))
        return None if response.status_code == httpx.codes.NOT_FOUND else _json(response)

    def get(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> Json:
        """Return the object."""
        return _json(self.http.get(kind.path(namespace, name)))

    def every(self, kind: Kind, namespace: str = NAMESPACE, **query: str) -> list[Json]:
        """Return all objects of a kind. The query may have labelSelector and fieldSelector."""
        items: list[Json] = _json(self.http.get(kind.path(namespace), params=query))["items"]
        return items

    def create(self, kind: Kind, body: Json, namespace: str = NAMESPACE, **query: str) -> Json:
        """Create an object."""
        return _json(
            self.http.post(kind.path(namespace), json={"apiVersion": kind.api, "kind": kind.name, **body}, params=query)
        )

    def patch(self, kind: Kind, name: str, body: Json, *, subresource: str | None = None) -> Json:
        """Change an object by a JSON merge patch."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return _json(
            self.http.patch(kind.path(NAMESPACE, name, subresource), content=json.dumps(body), headers=headers)
        )

    def json_patch(self, kind: Kind, name: str, *operations: Json) -> Json:
        """Change an object by a JSON patch."""
        headers = {"Content-Type": "application/json-patch+json"}
        return _json(self.http.patch(kind.path(NAMESPACE, name), content=json.dumps(operations), headers=headers))

    def delete(self, kind: Kind, name: str, **options: Any) -> None:
        """Delete an object."""
        _json(
            self.http.request(
                "DELETE", kind.path(NAMESPACE, name), json={"kind": "DeleteOptions", "apiVersion": "v1", **options}
            )
        )

    def mirror(self, builder: MirrorBuilder) -> Json:
        """Create a RegistryMirror."""
        return self.create(resources.MIRROR, builder.raw())

    def secret(self, name: str, **texts: str) -> Json:
        """Create a Secret with these texts."""
        return self.create(resources.SECRET, {"metadata": {"name": name}, "stringData": texts})

    def condition(self, mirror: str, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition; empty strings if it does not exist."""
        return self.conditions(mirror).get(kind, ("", "", ""))[:2]

    def conditions(self, mirror: str) -> dict[str, tuple[str, str, str]]:
        """Return status, reason and message of each condition of the current generation."""
        current = self.find(resources.MIRROR, mirror) or {"metadata": {"generation": -1}}
        status = current.get("status", {})
        if status.get("observedGeneration") != current["metadata"]["generation"]:
            return {}
        return {each["type"]: (each["status"], each["reason"], each["message"]) for each in status["conditions"]}

    def until_condition(self, mirror: str, kind: str, status: str, reason: str, seconds: float = DEADLINE) -> str:
        """Return the message of a condition after it has this status and reason."""

        def message() -> str:
            found = self.conditions(mirror).get(kind, ("", "", ""))
            return found[2] if found[:2] == (status, reason) else ""

        why = f"{kind}={status}/{reason} of {mirror}; {self.conditions(mirror)}"
        return until(message, why=why, seconds=seconds)

    def until_there(self, kind: Kind, name: str) -> Json:
        """Return the object after it exists."""
        return until(lambda: self.find(kind, name), why=f"{kind.name} {name} exists") or {}

    def until_gone(self, kind: Kind, name: str) -> None:
        """Wait until the object does not exist."""
        until(lambda: self.find(kind, name) is None, why=f"{kind.name} {name} is gone")

    def until_next_second(self, mirror: str) -> None:
        """Wait until another mirror would be younger: creation timestamps have whole seconds."""
        created = self.get(resources.MIRROR, mirror)["metadata"]["creationTimestamp"]

        def is_later() -> bool:
            probe = self.create(resources.SECRET, {"metadata": {"generateName": "clock-"}}, dryRun="All")
            return bool(probe["metadata"]["creationTimestamp"] > created)

        until(is_later, why="the next second")

    def events(self, mirror: str) -> list[tuple[str, str, str]]:
        """Return type, reason and note of the Events of a mirror."""
        found = self.every(resources.EVENT, "default")
        return [
            (each["type"], each["reason"], each["note"]) for each in found if each["regarding"].get("name") == mirror
        ]

    def until_event(self, mirror: str, kind: str, reason: str) -> str:
        """Return the note of an Event of a mirror after it exists. Other Events may come first."""

        def note() -> str:
            return next((each[2] for each in self.events(mirror) if each[:2] == (kind, reason)), "")

        return until(note, why=f"Event {kind} {reason} of {mirror}")


def _json(response: httpx.Response) -> Json:
    assert response.is_success, f"{response.request.method} {response.request.url}: {response.text}"
    body: Json = response.json()
    return body
