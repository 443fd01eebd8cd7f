"""Query the caches of mirrors: their metrics, content and volumes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from common.cache_protocol import PORT, STATUS_PORT
from controller.objects.resources import POD, SERVICE, STATEFUL_SET
from tests.localcluster.families import url_host
from tests.support.kube import Kube

if TYPE_CHECKING:
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.node.node import Node
    from tests.localcluster.node.upstream import Upstream

OK = 200
METRICS = "registrymirror_cache_"
SERVED, RECEIVED = "served_bytes_total", "received_bytes_total"
REQUESTS, EVICTIONS = "requests_total", "evictions_total"


@dataclass
class CacheQueries:
    """Queries of a testbed about its caches."""

    node: Node

    @cached_property
    def kube(self) -> Kube:
        """Return a client of the API server; kubectl would need a tenth of a second each time."""
        return Kube(self.node.cluster)

    def address(self, name: str) -> str:
        """Return the cluster IP of a mirror."""
        return str(self.kube.get(SERVICE, f"registry-mirror-{name}")["spec"]["clusterIP"])

    def _cache_pods(self, name: str) -> dict[str, Json]:
        """Return the status of a mirror's cache pods by name."""
        pods = self.kube.every(POD, labelSelector=f"mirror={name},component=registry")
        return {pod["metadata"]["name"]: pod["status"] for pod in pods}

    def caches(self, name: str) -> dict[str, str]:
        """Return names and addresses of a mirror's cache pods."""
        return {pod: status.get("podIP", "") for pod, status in self._cache_pods(name).items()}

    def started(self, name: str) -> dict[str, str]:
        """Return the containers of a mirror's caches by pod. A restart changes them."""
        return {pod: status["containerStatuses"][0]["containerID"] for pod, status in self._cache_pods(name).items()}

    def ready_pods(self, name: str) -> set[str]:
        """Return the cache pods of a mirror whose container is ready."""
        pods = self._cache_pods(name).items()
        return {pod for pod, status in pods if all(each["ready"] for each in status["containerStatuses"])}

    def counted(self, name: str, metric: str = SERVED, **labels: str) -> int:
        """Return the sum of a metric of a mirror's caches, by default of the bytes that they served."""
        return sum(self.counted_at(address, metric, **labels) for address in self.caches(name).values())

    def counted_at(self, address: str, metric: str = SERVED, **labels: str) -> int:
        """Return a metric of one cache; 0 if it is dead or has just started."""
        page = self.node.run(
            "curl", "--silent", f"http://{url_host(address)}:{STATUS_PORT}/metrics", check=False
        ).stdout
        samples = (each for family in text_string_to_metric_families(page) for each in family.samples)
        found = (each for each in samples if each.name == METRICS + metric)
        return int(sum(each.value for each in found if labels.items() <= each.labels.items()))

    def requests(self, name: str) -> dict[str, int]:
        """Return the number of requests to each cache pod of a mirror."""
        return {pod: self.counted_at(address, REQUESTS) for pod, address in self.caches(name).items()}

    def serving_cache(self, name: str, before: dict[str, int]) -> str:
        """Return the cache pod with the most requests since `before`. A node stays at one replica."""
        now = self.requests(name)
        return max(now, key=lambda pod: now[pod] - before.get(pod, 0))

    def fetch(self, address: str, image: str) -> None:
        """Let one cache fetch an image `host/path:tag` of its upstream."""
        path, _, tag = image.partition("/")[2].rpartition(":")
        accept = "Accept: application/vnd.oci.image.manifest.v1+json"
        ask = ("curl", "--silent", "--show-error", "--fail", "--insecure", "--header", accept)
        repository = f"https://{url_host(address)}:{PORT}/v2/{path}"
        manifest = json.loads(self.node.run(*ask, f"{repository}/manifests/{tag}").stdout)
        for blob in (manifest["config"], *manifest["layers"]):
            self.node.run(*ask, "--output", "/dev/null", f"{repository}/blobs/{blob['digest']}")

    def serves(self, name: str, path: str, tag: str, host: str = "") -> bool:
        """Return True if a mirror serves a tag; `host` is that of its image name, by default any."""
        return self.tag_status(name, path, tag, host) == OK

    def tag_status(self, name: str, path: str, tag: str, host: str = "") -> int:
        """Return the HTTP status of a tag at a mirror; 0 if it does not answer."""
        return self._status(name, f"{path}/manifests/{tag}", host)

    def serves_blob(self, name: str, path: str, digest: str) -> bool:
        """Return True if a mirror serves a blob."""
        return self._status(name, f"{path}/blobs/{digest}") == OK

    def _status(self, name: str, path: str, host: str = "") -> int:
        accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        ask = ("curl", "--silent", "--insecure", "--max-time", "10", "--header", accept)
        url = f"https://{url_host(self.address(name))}/v2/{path}{f'?ns={host}' if host else ''}"
        output = self.node.run(*ask, "--output", "/dev/null", "--write-out", "%{http_code}", url, check=False)
        return int(output.stdout or 0)

    def blobs(self, upstream: Upstream, path: str, tag: str) -> list[str]:
        """Return the digests of an image's layers, the topmost last."""
        accept = "Accept: application/vnd.oci.image.manifest.v1+json"
        ask = ("curl", "--silent", "--insecure", "--header", accept)
        output = self.node.run(*ask, f"https://{url_host(upstream.address)}/v2/{path}/manifests/{tag}").stdout
        return [layer["digest"] for layer in json.loads(output)["layers"]]

    def fill(self, volume: Path, leaving: int) -> None:
        """Fill a volume up to a number of free bytes for users other than root."""
        free = self.node.run("stat", "--file-system", "--format=%a %S", str(volume)).stdout.split()
        size = int(free[0]) * int(free[1]) - leaving
        self.node.run("fallocate", "--length", str(size), f"{volume}/filler")

    def ready_caches(self, name: str) -> int:
        """Return the number of ready caches of a mirror."""
        return int(self.kube.get(STATEFUL_SET, f"registry-mirror-{name}")["status"].get("readyReplicas", 0))

    def size(self, volume: Path) -> int:
        """Return the bytes of all files of a volume."""
        return int(self.node.run("du", "--bytes", "--summarize", str(volume)).stdout.split()[0])
