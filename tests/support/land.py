"""The whole of it on a real node: our programs as pods, mirrors, upstreams, and words for tests to ask with.

land.mirror("world", land.world)            # applied, Ready
seconds = land.pull(land.world.push("lib/test:1"))
land.passed("world")                        # bytes of blobs that came through the mirror
"""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from controller.objects.resources import CLAIM, MIRROR, POD, SERVICE, STATEFUL_SET
from tests.localcluster.node.installed import NAMESPACE
from tests.support.canary import objects
from tests.support.kube import Kube
from tests.support.pods import a_pod, eventually, logs, pull_secret, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.node.installed import Installed
    from tests.localcluster.node.node import Node
    from tests.localcluster.node.upstream import Upstream


READY_WITHIN = (
    120.0  # seconds from apply to Ready; some 15 are usual, a machine that does much else needs several times that
)
OK = 200
METRIC = re.compile(r"^registry_proxy_(?P<what>\w+)_total\{type=\"(?P<kind>\w+)\"\} (?P<value>\S+)$", re.MULTILINE)


@dataclass
class Land:
    """A node with the system in it, and the upstreams that its caches know."""

    node: Node
    system: Installed
    world: Upstream
    hub: Upstream
    private: Upstream
    _pods: int = 0
    said: dict[str, str] = field(default_factory=dict)

    @cached_property
    def kube(self) -> Kube:
        """The API server without a kubectl between, which is a tenth of a second each time."""
        return Kube(self.node.cluster)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl in the system's namespace; return what it prints."""
        return self.node.cluster.run_kubectl(f"--namespace={NAMESPACE}", *arguments, check=check).stdout

    def secret(self, name: str, **values: str) -> str:
        """Make or change a Secret in the system's namespace; return its name."""
        metadata = {"name": name, "namespace": NAMESPACE}
        self.node.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}])
        return name

    def credentials(self, upstream: Upstream, name: str = "credentials") -> str:
        """Make a Secret of the account at an upstream; return its name."""
        assert upstream.account is not None
        return self.secret(name, username=upstream.account.username, password=upstream.account.password)

    def login(self, upstream: Upstream) -> Json:
        """What a pod needs beside its containers to pull from an upstream itself."""
        assert upstream.account is not None
        self.node.apply([pull_secret(upstream.host, upstream.account)])
        return {"imagePullSecrets": [{"name": upstream.host}]}

    def apply_mirror(self, name: str, upstream: str, *, megabytes: int | None = None, **spec: Any) -> list[Path]:
        """Apply a mirror of an upstream, with as many volumes as it has replicas (1 unless said); return the volumes.

        Volumes that others have left behind are not taken again: which of the free ones a claim gets is not said.
        """
        spec = {"upstreamUrl": upstream, "replicas": 1, **spec}
        folders = self.node.add_volumes(spec["replicas"], megabytes=megabytes)
        claim = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
        body = {"metadata": {"name": name}, "spec": {"volumeClaimTemplate": claim, **spec}}
        self.node.apply([{"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror", **body}])
        return folders

    def mirror(self, name: str, upstream: Upstream, **spec: Any) -> list[Path]:
        """Apply a mirror and wait until it is Ready; return its volumes."""
        folders = self.apply_mirror(name, upstream.host, **spec)
        self.wait_ready(name)
        return folders

    def change(self, name: str, **spec: Any) -> None:
        """Change fields of a mirror's spec; None takes one out."""
        self.kubectl("patch", "rm", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def wait_ready(self, name: str) -> None:
        """Wait until a mirror is Ready at its present generation."""
        found = eventually(lambda: self.condition(name, "Ready")["status"] == "True", READY_WITHIN)
        assert found, self.told(name)

    def delete(self, name: str, seconds: float = 90.0) -> None:
        """Delete a mirror; return when it and its pods are gone."""
        self.keep_logs(f"mirror={name}")
        self.kubectl("delete", "rm", name, "--ignore-not-found", f"--timeout={seconds:.0f}s")
        gone = eventually(lambda: not self.left_of(name), seconds)
        assert gone, self.kubectl("get", "all,pvc", "-l", f"mirror={name}")

    def keep_logs(self, selector: str = "") -> None:
        """Keep what the pods of the system have said, before they go."""
        for pod in self.kubectl("get", "pods", "-o", "name", "-l", selector).split():
            said = self.kubectl("logs", pod, "--all-containers", "--tail=-1", check=False)
            self.said[pod] = self.said.get(pod, "") + said

    def hurry(self, selector: str) -> None:
        """Have the kubelet look at these pods, and so at their Secrets, at once and not within a minute and a half."""
        self.kubectl("annotate", "pods", f"--selector={selector}", "--overwrite", f"hurried={time.time():.3f}")

    def told_anywhere(self) -> dict[str, str]:
        """All that is told of the system: what its pods say, every object but Secrets, its files on the node."""
        self.keep_logs()
        found = objects(self.node.cluster)
        del found["Secret"]
        ours = "/etc/hosts /etc/hosts.backup /etc/containerd /etc/docker /var/lock/mirror-hostess"
        files = self.node.run("sh", "-c", f"find {ours} -type f -exec cat {{}} +", check=False).stdout
        assert "localhost" in files
        return {**found, **self.said, "files of the node": files}

    def left_of(self, name: str) -> list[Json]:
        """Pods and claims of a mirror, which go after it."""
        return [each for kind in (POD, CLAIM) for each in self.kube.every(kind, labelSelector=f"mirror={name}")]

    def condition(self, name: str, kind: str) -> Json:
        """One condition of a mirror, as far as it is about the present spec; an empty one until it is."""
        mirror = self.kube.get(MIRROR, name)
        found = (mirror.get("status") or {}).get("conditions") or []
        generation = mirror["metadata"]["generation"]
        match = (one for one in found if one["type"] == kind and one["observedGeneration"] == generation)
        return next(match, {"status": "", "reason": "", "message": ""})

    def becomes(self, name: str, kind: str, reason: str, seconds: float = 60.0) -> Json:
        """Wait until a condition has a reason; return the condition."""
        assert eventually(lambda: self.condition(name, kind)["reason"] == reason, seconds), self.told(name)
        return self.condition(name, kind)

    def events(self, name: str) -> set[str]:
        """Reasons of the Events about a mirror."""
        path = "jsonpath={.items[*].reason}"
        said = self.node.cluster.run_kubectl(
            "get", "events", "--field-selector", f"involvedObject.name={name}", "-o", path
        )
        return set(said.stdout.split())

    def told(self, name: str) -> str:
        """What is known of a mirror, for the message of an assertion."""
        return "\n".join(
            [
                self.kubectl("describe", "rm", name, check=False)[-4000:],
                self.kubectl("get", "pods", "-l", f"mirror={name}", "-o", "wide", check=False),
                self.kubectl("logs", "-l", f"mirror={name},component=hostess-certificate", "--tail=5", check=False),
            ]
        )

    def address(self, name: str) -> str:
        """The cluster IP of a mirror."""
        return str(self.kube.get(SERVICE, f"registry-mirror-{name}")["spec"]["clusterIP"])

    def caches(self, name: str) -> dict[str, str]:
        """Names and addresses of the cache pods of a mirror."""
        pods = self.kube.every(POD, labelSelector=f"mirror={name},component=registry")
        return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in pods}

    def counted(self, name: str, what: str = "pushed_bytes", kind: str = "blob") -> int:
        """A counter of the caches of a mirror, by the registry's own metrics: `requests`, `hits`, `pushed_bytes`..."""
        return sum(self.counted_at(address, what, kind) for address in self.caches(name).values())

    def counted_at(self, address: str, what: str = "pushed_bytes", kind: str = "blob") -> int:
        """A counter of one cache; 0 for one that is dead, as for one that has just started."""
        page = self.node.run("curl", "--silent", f"http://{address}:5001/metrics", check=False).stdout
        found = {(each["what"], each["kind"]): each["value"] for each in METRIC.finditer(page)}
        return int(float(found.get((what, kind), 0)))

    def fetch(self, address: str, image: str) -> None:
        """Let one cache fetch an image `host/path:tag` of its upstream, so that it has it."""
        path, _, tag = image.partition("/")[2].rpartition(":")
        accept = "Accept: application/vnd.oci.image.manifest.v1+json"
        ask = ("curl", "--silent", "--show-error", "--fail", "--insecure", "--header", accept)
        repository = f"https://{address}:5000/v2/{path}"
        manifest = json.loads(self.node.run(*ask, f"{repository}/manifests/{tag}").stdout)
        for blob in (manifest["config"], *manifest["layers"]):
            self.node.run(*ask, "--output", "/dev/null", f"{repository}/blobs/{blob['digest']}")

    def serves(self, name: str, path: str, tag: str) -> bool:
        """Whether a mirror answers for a tag."""
        return self._status(name, f"{path}/manifests/{tag}") == OK

    def serves_blob(self, name: str, path: str, digest: str) -> bool:
        """Whether a mirror answers for a blob."""
        return self._status(name, f"{path}/blobs/{digest}") == OK

    def _status(self, name: str, path: str) -> int:
        accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        # GET, as the registry answers a HEAD of a blob that it has to fetch first with 500
        ask = ("curl", "--silent", "--insecure", "--max-time", "10", "--header", accept)
        url = f"https://{self.address(name)}/v2/{path}"
        said = self.node.run(*ask, "--output", "/dev/null", "--write-out", "%{http_code}", url, check=False)
        return int(said.stdout or 0)

    def blobs(self, upstream: Upstream, path: str, tag: str) -> list[str]:
        """Digests of the layers of an image, the topmost last."""
        accept = "Accept: application/vnd.oci.image.manifest.v1+json"
        ask = ("curl", "--silent", "--insecure", "--header", accept)
        said = self.node.run(*ask, f"https://{upstream.address}/v2/{path}/manifests/{tag}").stdout
        return [layer["digest"] for layer in json.loads(said)["layers"]]

    def fill(self, volume: Path, leaving: int) -> None:
        """Put something into a volume that leaves so many bytes for who is not root."""
        free = self.node.run("stat", "--file-system", "--format=%a %S", str(volume)).stdout.split()
        size = int(free[0]) * int(free[1]) - leaving
        self.node.run("fallocate", "--length", str(size), f"{volume}/filler")

    def ready_caches(self, name: str) -> int:
        """How many caches of a mirror are ready."""
        return int(self.kube.get(STATEFUL_SET, f"registry-mirror-{name}")["status"].get("readyReplicas", 0))

    def size(self, volume: Path) -> int:
        """Bytes of all files of a volume."""
        return int(self.node.run("du", "--bytes", "--summarize", str(volume)).stdout.split()[0])

    def agent(self, name: str) -> str:
        """The name of the agent's pod of a mirror; empty where there is none."""
        pods = self.kube.every(POD, labelSelector=f"mirror={name},component=hostess-certificate")
        return next((str(pod["metadata"]["name"]) for pod in pods), "")

    def hosts_toml(self, host: str) -> bool:
        """Whether there is a hosts.toml for an image host."""
        return self.node.exists(f"/etc/containerd/certs.d/{host}/hosts.toml")

    def start_pull(self, image: str, policy: str = "Always", **spec: Any) -> str:
        """Start a pod that has to pull an image; return its name."""
        self._pods += 1
        pod = f"puller-{self._pods}"
        self.node.apply([a_pod(pod, image, container={"imagePullPolicy": policy}, **spec)])
        return pod

    def pull(self, image: str, seconds: float = 60.0, **spec: Any) -> float:
        """Pull an image by a pod, and forget it again; return how long the pod took to run, in seconds."""
        began = time.monotonic()
        pod = self.start_pull(image, **spec)
        self.runs(pod, image, seconds)
        took = time.monotonic() - began
        self.forget(pod, image)
        return took

    def runs(self, pod: str, image: str, seconds: float = 60.0) -> None:
        """Wait until a pod runs, and see that it is the image that was meant."""
        ready = f"--timeout={max(1, round(seconds))}s"
        done = self.node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", ready, check=False)
        assert done.returncode == 0, self.node.cluster.run_kubectl("describe", "pod", pod).stdout[-3000:]
        assert logs(self.node, pod) == f"this is {image}\n"

    def running(self, pod: str) -> bool:
        """Whether a pod has its image and runs."""
        return bool(self.kube.get(POD, pod, "default")["status"]["phase"] == "Running")

    def forget(self, pod: str, image: str) -> None:
        """Remove a pod and its image from the node."""
        remove(self.node, pod)
        self.node.forget_image(image)

    def fails(self, image: str, seconds: float = 60.0) -> str:
        """Let a pod fail to pull an image; return what kubelet says of it."""
        pod = self.start_pull(image)
        found = eventually(lambda: self.waits(pod), seconds)
        assert found, self.node.cluster.run_kubectl("describe", "pod", pod).stdout[-3000:]
        said = self.waits(pod)
        remove(self.node, pod)
        return said

    def waits(self, pod: str) -> str:
        """Why a pod has no image yet, once that was tried; empty before, and when it runs."""
        status = self.kube.get(POD, pod, "default")["status"]
        waiting = [each["state"].get("waiting") or {} for each in status.get("containerStatuses") or ()]
        return waiting[0].get("message", "") if waiting else ""

    @contextmanager
    def without_controller(self) -> Iterator[None]:
        """Nobody puts right what a test does to a mirror's objects."""
        self.system.scale("controller", 0)
        selector = "app.kubernetes.io/name=registrymirror-controller"
        self.until(
            lambda: not self.kube.every(POD, labelSelector=selector)
        )  # the rollout counts those no more that end
        try:
            yield
        finally:
            self.system.scale("controller", 2)

    def until(
        self, question: Callable[[], object], seconds: float = 60.0, told: Callable[[], object] = lambda: ""
    ) -> float:
        """Wait for a state; return how long it took, in seconds. Where it does not come, fail with what is `told`."""
        began = time.monotonic()
        assert eventually(question, seconds), f"not within {seconds:.0f} s. {told()}"
        return time.monotonic() - began
