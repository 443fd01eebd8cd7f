"""Check whether mirrors are complete, and read logs and metrics, for tests of faults."""

from __future__ import annotations

import base64
import copy
import json
import re
import time
from typing import TYPE_CHECKING

from controller.objects import resources, well_known
from tests.localcluster.pages import page
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json
    from tests.cluster.conftest import Running
    from tests.support.kube import Kube

CREDENTIALS_KEY = re.compile(rf"[0-9a-f]{{12}}({'|'.join(map(re.escape, well_known.CREDENTIALS_SUFFIXES))})")
CHILDREN = (*((kind, "") for kind in resources.CHILDREN), (resources.SERVICE, "-headless"))


def one(name: str) -> MirrorBuilder:
    """Return a mirror with host names of its own."""
    return a_mirror().named(name).of(f"{name}.example.com")


def complete(kube: Kube, name: str) -> bool:
    """Return True if all objects of a mirror exist and its status is written."""
    exist = all(kube.find(kind, f"registry-mirror-{name}{suffix}") for kind, suffix in CHILDREN)
    return exist and bool(kube.conditions(name))


def log_of(running: Running, program: str) -> list[Json]:
    """Return the lines that a program has logged."""
    lines = running.system.processes.log(program).read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def events_of(running: Running, program: str) -> list[str]:
    """Return the names of the events that a program has logged."""
    return [line["event"] for line in log_of(running, program)]


def normal_form(kube: Kube, name: str) -> dict[str, Json]:
    """Return the objects of a mirror without names, UIDs, times and keys, to compare two mirrors."""
    return {
        f"{kind.name}{suffix}": _normal(kube.get(kind, f"registry-mirror-{name}{suffix}"), name)
        for kind, suffix in CHILDREN
    }


def _normal(obj: Json, name: str) -> Json:
    spec = copy.deepcopy(obj.get("spec", {}))
    for field in ("clusterIP", "clusterIPs"):
        spec[field] = "None" if spec.get(field) in ("None", ["None"]) else "given"
    for template in spec.get("volumeClaimTemplates", ()):
        (owner,) = template["metadata"]["ownerReferences"]
        del owner["uid"]
    kept = {"labels": obj["metadata"]["labels"], "owners": len(obj["metadata"]["ownerReferences"]), "spec": spec}
    data = obj.get("data", {})
    configuration = json.loads(base64.b64decode(data.get(well_known.CONFIGURATION, "bnVsbA==")))
    # The keys of credentials begin with a hash of the upstream, which has the name of the mirror.
    keys = sorted(CREDENTIALS_KEY.sub(r"HASH\1", key) for key in data)
    whole = {**kept, "keys": keys, "configuration": configuration}
    text = CREDENTIALS_KEY.sub(r"HASH\1", json.dumps(whole).replace(name, "NAME"))
    parsed: Json = json.loads(text)
    return parsed


def settled(running: Running) -> None:
    """Wait until the number of writes is stable, so that all Events are posted."""
    seen = -1.0
    while (now := sum(writes(running.kube).values())) != seen:
        seen = now
        time.sleep(1)


def leads(port: int) -> bool:
    """Return True if the controller with these metrics is the leader."""
    return "registrymirror_leader_election_master_status 1.0" in (page(port, "/metrics") or "")


def reconciled(port: int) -> float:
    """Return the number of reconciles so far."""
    lines = (page(port, "/metrics") or "").splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("registrymirror_reconcile_total"))


def writes(kube: Kube) -> dict[str, float]:
    """Return the API server's counts of writes by resource, without leases."""
    counted: dict[str, float] = {}
    for line in kube.http.get("/metrics").text.splitlines():
        if line.startswith("apiserver_request_total{") and 'resource="leases"' not in line and _changes(line):
            labels, _, value = line.rpartition(" ")
            counted[labels] = float(value)
    return counted


def _changes(line: str) -> bool:
    return any(f'verb="{verb}"' in line for verb in ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"))
