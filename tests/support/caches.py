"""Caches for cache pods without a kubelet: real programs with the files of their pods.

with running_caches(running, "one") as caches:
    kube.until_condition("one", "UpstreamReachable", "True", "Reachable")
    caches[0].pull("a")
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import ssl
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from common import cache_protocol
from controller.objects import resources, well_known
from tests.localcluster.pages import page
from tests.localcluster.secret_sync import write_version
from tests.localcluster.system import REPOSITORY
from tests.support.agents import free_address
from tests.support.components import pods_of, set_pod_ready
from tests.support.kube import Kube, text, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from common.types import Json
    from tests.cluster.conftest import Running

# Seconds between two looks at pods, Secrets and readiness. A kubelet needs up to two minutes for a changed Secret.
INTERVAL = 0.25
SERVICE_ACCOUNT = resources.Kind("v1", "serviceaccounts", "ServiceAccount")


@dataclass
class CachePod:
    """One cache pod: its files, its program, and what its kubelet reported last."""

    pod: Json
    address: str
    running: Running
    mirror: str
    is_started: bool = False
    was_ready: bool | None = None
    _written: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name of the pod, and of its program."""
        return str(self.pod["metadata"]["name"])

    @property
    def _container(self) -> Json:
        (container,) = self.pod["spec"]["containers"]
        return dict(container)

    @property
    def pid(self) -> int:
        """Return the process id of the program."""
        return self.running.system.processes.record(self.name).pid

    def folder(self, path: str) -> Path:
        """Return the folder that is mounted at a path. Pods of one name share it, as they share a volume."""
        (name,) = [each["name"] for each in self._container["volumeMounts"] if each["mountPath"] == path]
        return self.running.cluster.folder / "pods" / self.name / str(name)

    def write_files(self, kube: Kube, address_of: Callable[[str], str]) -> bool:
        """Write the Secrets and ConfigMaps that changed. Return False if one is missing or lacks a key."""
        mounts = {each["name"]: each["mountPath"] for each in self._container["volumeMounts"]}
        for volume in self.pod["spec"]["volumes"]:
            path = mounts[volume["name"]]
            if "persistentVolumeClaim" in volume:
                self.folder(path).mkdir(parents=True, exist_ok=True)
                continue
            content = _content(kube, volume)
            if content is None:
                return False
            if f"{path}/{well_known.CONFIGURATION}" in self._container["args"]:
                content[well_known.CONFIGURATION] = self._localized(content[well_known.CONFIGURATION], address_of)
            if content != self._written.get(path):
                write_version(content, self.folder(path))
                self._written[path] = content
        return True

    def _localized(self, encoded: str, address_of: Callable[[str], str]) -> str:
        """Return the configuration with addresses and folders of this machine, and with the name of this pod."""
        configuration = base64.b64decode(encoded).decode()
        for path in sorted((each["mountPath"] for each in self._container["volumeMounts"]), key=len, reverse=True):
            configuration = configuration.replace(f'"{path}', f'"{self.folder(path)}')
        document = json.loads(configuration)
        for key in ("listen", "statusListen"):
            document[key] = self.address + document[key]
        if document["peers"]:
            members = document["peers"]["members"]
            for name, url in members.items():
                members[name] = url.replace(url.split("/")[2].rpartition(":")[0], address_of(name))
            document["peers"] |= {"self": self.name} if self.name in members else {}
        return base64.b64encode(json.dumps(document).encode()).decode()

    def start(self) -> None:
        """Start the program as the container does."""
        (configuration,) = self._container["args"]
        directory, _, name = configuration.rpartition("/")
        variables = {each["name"]: each["value"] for each in self._container.get("env", ())}
        argv = [sys.executable, "-m", "cache", str(self.folder(directory) / name)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "DEBUG", **variables}
        self.running.system.processes.start(self.name, argv, environment)
        self.is_started = True

    def is_ready(self) -> bool:
        """Return True if the readiness probe succeeds."""
        probe = self._container["readinessProbe"]["httpGet"]
        return self.is_started and page(probe["port"], probe["path"], self.address) is not None

    def report(self, kube: Kube, *, ready: bool) -> None:
        """Report the state of the pod, unless the pod is gone."""
        with suppress(AssertionError):
            set_pod_ready(kube, self.pod, ready=ready, address=self.address)
            self.was_ready = ready

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the program."""
        self.running.system.processes.kill(self.name, number)

    def stop(self) -> None:
        """Stop the program."""
        if self.is_started:
            self.running.system.processes.stop([self.name])

    def status_page(self, path: str) -> str:
        """Return a page of the status port."""
        return (
            until(lambda: page(cache_protocol.STATUS_PORT, path, self.address), why=f"{self.name} answers {path}") or ""
        )

    def log(self) -> str:
        """Return what the programs of this name have logged."""
        return self.running.system.processes.log(self.name).read_text()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all series with the labels."""
        lines = [
            each for each in self.status_page("/metrics").splitlines() if each.startswith((f"{name} ", f"{name}{{"))
        ]
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [each for each in lines if each.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in found if all(each in line for each in wanted))

    def ask(self, path: str, authorization: str = "", **query: str) -> httpx.Response:
        """Ask the registry API as a node does: with the CA of the mirror's Secret, by the name of the mirror."""
        kube = self.running.kube
        host = kube.get(resources.MIRROR, self.mirror)["status"]["masqueradeUrl"]
        trusted = text(kube.get(resources.SECRET, f"registry-mirror-{self.mirror}"), well_known.CA)
        context = ssl.create_default_context(cadata=trusted)
        with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
            url = f"https://{self.address}:{cache_protocol.PORT}/v2/{path}"
            headers = {"Host": host, "Authorization": authorization} if authorization else {"Host": host}
            return client.get(url, params=query, headers=headers, extensions={"sni_hostname": host})

    def pull(self, name: str, tag: str = "latest", **query: str) -> None:
        """Pull an image and check its digests."""
        manifest = self.ask(f"{name}/manifests/{tag}", **query)
        assert manifest.status_code == httpx.codes.OK, (manifest.text, self.log())
        document = manifest.json()
        for each in (document["config"], *document["layers"]):
            blob = self.ask(f"{name}/blobs/{each['digest']}", **query)
            assert blob.status_code == httpx.codes.OK, (blob.text, self.log())
            assert f"sha256:{hashlib.sha256(blob.content).hexdigest()}" == each["digest"]


def _content(kube: Kube, volume: Json) -> dict[str, str] | None:
    """Return the files of a volume in base64, or None if the object is missing or lacks a key."""
    if "secret" in volume:
        source = volume["secret"]
        found = kube.find(resources.SECRET, source["secretName"])
        data = dict((found or {}).get("data") or {})
    else:
        source = volume["configMap"]
        found = kube.find(resources.CONFIG_MAP, source["name"])
        plain = (found or {}).get("data") or {}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
    files = {each["path"]: each["key"] for each in source.get("items", ())} or {key: key for key in data}
    if found is None or not set(files.values()) <= set(data):
        return None
    return {path: data[key] for path, key in files.items()}


class Caches:
    """The cache pods of one mirror by ordinal, and their kubelet, which is a thread."""

    def __init__(self, running: Running, mirror: str) -> None:
        self.running, self.mirror = running, mirror
        self._pods: dict[str, CachePod] = {}
        self._addresses: dict[str, str] = {}
        self._end, self._is_held = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: Exception | None = None

    def __getitem__(self, ordinal: int) -> CachePod:
        """Return the pod with an ordinal once its program has started."""
        name = f"registry-mirror-{self.mirror}-{ordinal}"
        found = lambda: next((each for each in self if each.name == name and each.is_started), None)  # noqa: E731
        pod = until(found, why=f"{name} has started; {self._error}")
        assert pod is not None
        return pod

    def __iter__(self) -> Iterator[CachePod]:
        return iter(list(self._pods.values()))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Leave all files as they are meanwhile."""
        self._is_held.set()
        try:
            yield
        finally:
            self._is_held.clear()

    def start(self) -> None:
        """Start the kubelet."""
        self._thread.start()

    def stop(self) -> None:
        """Stop kubelet and programs, and report the pods as not ready. Raise what the kubelet failed with."""
        self._end.set()
        self._thread.join()
        for pod in self:
            pod.stop()
            pod.report(self.running.kube, ready=False)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        kube = Kube(self.running.cluster)
        try:
            while not self._end.wait(INTERVAL):
                self._sync(kube)
        except Exception as error:  # noqa: BLE001 (raised by `stop`)
            self._error = error
        kube.close()

    def _sync(self, kube: Kube) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in pods_of(kube, self.mirror, "registry")}
        for uid in self._pods.keys() - pods.keys():
            self._pods.pop(uid).stop()
        for uid, pod in pods.items():
            if uid not in self._pods:
                self._pods[uid] = CachePod(pod, self._address(pod["metadata"]["name"]), self.running, self.mirror)
            self._sync_pod(kube, self._pods[uid])

    def _sync_pod(self, kube: Kube, pod: CachePod) -> None:
        if not self._is_held.is_set() and pod.write_files(kube, self._address) and not pod.is_started:
            pod.start()
        ready = pod.is_ready()
        if pod.is_started and ready != pod.was_ready:
            pod.report(kube, ready=ready)

    def _address(self, name: str) -> str:
        if name not in self._addresses:
            self._addresses[name] = free_address()
        return self._addresses[name]


def create_pods(kube: Kube, mirror: str) -> None:
    """Create the cache pods of a mirror as the StatefulSet controller does, in a cluster that has none."""
    name = f"registry-mirror-{mirror}"
    stateful_set = kube.until_there(resources.STATEFUL_SET, name)["spec"]
    template = stateful_set["template"]
    (claim,) = [each["metadata"]["name"] for each in stateful_set["volumeClaimTemplates"]]
    kube.create(SERVICE_ACCOUNT, {"metadata": {"name": "default"}})
    for number in range(stateful_set["replicas"]):
        volume = {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}-{number}"}}
        spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], volume]}
        metadata = {"name": f"{name}-{number}", "labels": template["metadata"]["labels"]}
        kube.create(resources.POD, {"metadata": metadata, "spec": spec})


@contextmanager
def running_caches(running: Running, mirror: str) -> Iterator[Caches]:
    """Run the cache pods of a mirror, also those that appear later."""
    caches = Caches(running, mirror)
    caches.start()
    try:
        yield caches
    finally:
        caches.stop()
