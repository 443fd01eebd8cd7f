"""What tests of faults look at: whether a mirror is complete, what a program has logged, what the API server counts."""

from __future__ import annotations

import copy
import json
import re
import time
from typing import TYPE_CHECKING

from controller.objects import resources
from tests.localcluster.pages import page
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.kube import Kube

# A label whose value follows from the upstream, and so differs from one mirror to the next.
UPSTREAM = "k8s.osp.tech/upstream"
CHILDREN = (*((kind, "") for kind in resources.CHILDREN), (resources.SERVICE, "-headless"))


def one(name: str) -> MirrorBuilder:
    """A mirror whose host names no other has."""
    return a_mirror().named(name).of(f"{name}.example.com")


def complete(kube: Kube, name: str) -> bool:
    """Whether everything of a mirror exists and its status is written."""
    there = all(kube.find(kind, f"registry-mirror-{name}{suffix}") for kind, suffix in CHILDREN)
    return there and bool(kube.conditions(name))


def log_of(running: Running, program: str) -> list[Json]:
    """The lines a program has logged."""
    lines = running.system.processes.log(program).read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def events_of(running: Running, program: str) -> list[str]:
    """Names of the events a program has logged."""
    return [line["event"] for line in log_of(running, program)]


def normal_form(kube: Kube, name: str) -> dict[str, Json]:
    """What is made of a mirror, less what differs from one to the next by its nature: names, UIDs, times, keys."""
    return {
        f"{kind.name}{suffix}": _normal(kube.get(kind, f"registry-mirror-{name}{suffix}"), name)
        for kind, suffix in CHILDREN
    }


def _normal(live: Json, name: str) -> Json:
    spec = copy.deepcopy(live.get("spec", {}))
    for field in ("clusterIP", "clusterIPs"):
        spec[field] = "None" if spec.get(field) in ("None", ["None"]) else "given"
    spec.get("template", {}).get("metadata", {}).pop("annotations", None)
    kept = {"labels": live["metadata"]["labels"], "owners": len(live["metadata"]["ownerReferences"]), "spec": spec}
    text = json.dumps({**kept, "keys": sorted(live.get("data", {}))}, sort_keys=True)
    text = re.sub(rf'("{re.escape(UPSTREAM)}": )"[0-9a-f]+"', r'\1"UPSTREAM"', text.replace(name, "NAME"))
    parsed: Json = json.loads(text)
    return parsed


def settled(running: Running) -> None:
    """The Events of the making have been posted too."""
    seen = -1.0
    while (now := sum(writes(running.kube).values())) != seen:
        seen = now
        time.sleep(1)


def leads(port: int) -> bool:
    """Return True if the controller with these metrics is the leader."""
    return "registrymirror_leader_election_master_status 1.0" in (page(port, "/metrics") or "")


def reconciled(port: int) -> float:
    lines = (page(port, "/metrics") or "").splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("registrymirror_reconcile_total"))


def writes(kube: Kube) -> dict[str, float]:
    """Requests that change something, by resource, but those for leases, as the API server counts them."""
    counted: dict[str, float] = {}
    for line in kube.http.get("/metrics").text.splitlines():
        if line.startswith("apiserver_request_total{") and 'resource="leases"' not in line and _changes(line):
            labels, _, value = line.rpartition(" ")
            counted[labels] = float(value)
    return counted


def _changes(line: str) -> bool:
    return any(f'verb="{verb}"' in line for verb in ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"))
