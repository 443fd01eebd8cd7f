"""A mirror with real caches, an agent, an upstream and pulls, watched by Prometheus through the PodMonitors.

Pods without a kubelet have real programs at addresses of their own, where Prometheus scrapes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx
import yaml

from common import names
from controller.objects import resources, well_known
from tests.localcluster.scraping import DEPLOY, rules, scrape_configs, target_groups
from tests.support.components import POD, create_node_with_capacity, set_pod_ready
from tests.support.kube import text, until
from tests.support.mirrors import a_mirror
from tests.support.prometheus import running_prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json
    from tests.cache.upstream import Registry
    from tests.cluster.conftest import Running
    from tests.monitoring.picture import Fault
    from tests.support.caches import Caches
    from tests.support.node_agent import NodeAgent
    from tests.support.prometheus import Prometheus

MIRROR, NODE, SECRET = "one", "node-1", "login"
REPLICAS = 2
ACCOUNT = {"username": "robot", "password": "secret"}  # of the upstream
VOLUME = 64 * 1024 * 1024
INTERVAL = "1s"  # of scrapes and evaluations
# Each `for` and each range of the rules is so much shorter than in production: 15 minutes become 9 s.
FASTER = 100
UNITS = {"s": 1, "m": 60, "h": 3600}
# A certificate that ends within the week of the alert, as of an administrator who forgot it.
SHORT_LIVED = {"CERTIFICATE_LIFETIME": "120h", "CERTIFICATE_LEAD": "48h", "CERTIFICATE_WARNING": "24h"}


def faster_rules() -> Json:
    """Return the rules with shorter times."""
    groups = [
        {
            **group,
            "rules": [
                {
                    **rule,
                    "for": _faster(rule["for"]),
                    "expr": re.sub(r"\[(\w+)\]", lambda found: f"[{_faster(found[1])}]", rule["expr"]),
                }
                for rule in group["rules"]
            ],
        }
        for group in rules()["groups"]
    ]
    return {"groups": groups}


def _faster(duration: str) -> str:
    return f"{max(1, int(duration[:-1]) * UNITS[duration[-1]] // FASTER)}s"


@dataclass
class Scene:
    """The running parts."""

    running: Running
    registry: Registry
    caches: Caches
    agent: NodeAgent
    prometheus: Prometheus
    began: float  # seconds since 1970
    faults: list[Fault] = field(default_factory=list)

    def start_caches(self) -> None:
        """Start the caches again after a kill."""
        for pod in self.caches:
            pod.start()

    def stop_controller(self) -> None:
        """Stop the controller."""
        self.running.system.processes.stop(["controller"])

    def start_controller(self, **environment: str) -> None:
        """Start the controller with other variables."""
        self.running.system.start_controller(**environment)

    def change_login(self, password: str) -> None:
        """Change the password in the mirror's Secret."""
        self.running.kube.patch(resources.SECRET, SECRET, {"stringData": {"password": password}})

    @property
    def volumes(self) -> list[Path]:
        """Return the folders of the caches' volumes."""
        return [volume(self.running, ordinal) for ordinal in range(REPLICAS)]


def volume(running: Running, ordinal: int) -> Path:
    """Return the folder of a cache pod's volume."""
    name = f"{names.object_name(MIRROR)}-{ordinal}"
    return running.cluster.folder / "pods" / name / names.CLAIM_TEMPLATE


@contextlib.contextmanager
def mounted_volumes(running: Running) -> Iterator[None]:
    """Give each cache pod a small volume."""
    with contextlib.ExitStack() as stack:
        for ordinal in range(REPLICAS):
            path = volume(running, ordinal)
            path.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={VOLUME}", "none", str(path)], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)
        yield


def create_mirror(running: Running, registry: Registry) -> None:
    """Create a mirror with credentials, and the node."""
    create_node_with_capacity(running.kube, NODE)
    running.kube.secret(SECRET, **ACCOUNT)
    host = f"{MIRROR}.example.com"
    running.kube.mirror(
        a_mirror().named(MIRROR).of(registry.url).known_as(host).replicated(REPLICAS).logging_in_with(SECRET)
    )
    until(
        lambda: "masqueradeUrl" in running.kube.get(resources.MIRROR, MIRROR).get("status", {}),
        why="the mirror has a status",
    )


def create_pods_of_programs(running: Running) -> None:
    """Create pods of both Deployments. Their programs run as processes at 127.0.0.1, with ports of their own."""
    ports = {"controller": running.system.metrics_port, "webhook": running.system.webhook_port}
    for program, number in ports.items():
        objects = yaml.safe_load_all((DEPLOY / f"{program}.yaml").read_text())
        (template,) = (each["spec"]["template"] for each in objects if each["kind"] == "Deployment")
        (container,) = template["spec"]["containers"]
        ports_of_program = [{**each, "containerPort": number} for each in container["ports"]]
        spec = {"containers": [{"name": program, "image": container["image"], "ports": ports_of_program}]}
        metadata = {"name": program, "labels": template["metadata"]["labels"]}
        pod = running.kube.create(POD, {"metadata": metadata, "spec": spec})
        set_pod_ready(running.kube, pod, ready=True, address="127.0.0.1")


@contextlib.contextmanager
def watched(running: Running, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the scrape configurations of the PodMonitors, and with faster rules."""
    secret = running.kube.until_there(resources.SECRET, "registrymirror-webhook-tls")
    ca = folder / "secrets" / "registrymirror-webhook-tls" / "ca.crt"
    ca.parent.mkdir(parents=True)
    ca.write_text(text(secret, well_known.CA))
    targets = folder / "targets.json"
    targets.write_text(json.dumps(target_groups(running.kube.every(POD))))
    scraping = scrape_configs(targets, folder / "secrets", INTERVAL)
    with running_prometheus(folder / "prometheus", scraping, faster_rules(), INTERVAL) as prometheus:
        yield prometheus


class Pulls:
    """A node that pulls: mostly images that it pulled before, now and then a new one."""

    KNOWN, SIZE = 4, 400_000

    def __init__(self, registry: Registry, caches: Caches) -> None:
        self._registry, self._caches = registry, caches
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._end.wait(0.2):
            # Each image stays for some pulls, and the oldest is not pulled again.
            name = f"app-{number // self.KNOWN}"
            if number % self.KNOWN == 0:
                self._registry.push(name, layers=(self.SIZE, self.SIZE // 4))
            number += 1
            with contextlib.suppress(AssertionError, httpx.HTTPError):  # the fault of a test
                self._caches[number % REPLICAS].pull(name)


def grow(filler: Path) -> bool:
    """Let a file take what evictions freed. Return True if it has so much that they cannot keep a tenth free."""
    space = os.statvfs(filler.parent)
    size = filler.stat().st_size + space.f_bavail * space.f_frsize
    with filler.open("r+b") as file, contextlib.suppress(OSError):  # the cache took it meanwhile
        os.posix_fallocate(file.fileno(), 0, size)
    return filler.stat().st_size > VOLUME * 0.9


def now() -> float:
    """Return seconds since 1970."""
    return time.time()
