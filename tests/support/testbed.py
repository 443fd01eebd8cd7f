"""Run the system on a real node, with mirrors and upstreams, and query it.

testbed.mirror("world", testbed.world)            # applied, Ready
seconds = testbed.pull(testbed.world.push("lib/test:1"))
testbed.counted("world")                          # bytes of blobs that came through the mirror
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.objects.resources import CLAIM, MIRROR, POD
from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE
from tests.support.cache_queries import CacheQueries
from tests.support.canary import objects
from tests.support.pods import a_pod, eventually, logs, pull_secret, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from common.types import Json
    from tests.localcluster.node.installed import Installed
    from tests.localcluster.node.upstream import Upstream


READY_WITHIN = 120.0  # seconds from apply to Ready; 15 are usual, a loaded machine needs several times that


@dataclass
class Testbed(CacheQueries):
    """Node with the system, and the upstreams that its caches know."""

    __test__ = False  # not a test class of pytest
    system: Installed
    world: Upstream
    hub: Upstream
    private: Upstream
    _pods: int = 0
    logs: dict[str, str] = field(default_factory=dict)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl in the system's namespace; return what it prints."""
        return self.node.cluster.run_kubectl(f"--namespace={NAMESPACE}", *arguments, check=check).stdout

    def secret(self, name: str, **values: str) -> str:
        """Create or change a Secret in the system's namespace; return its name."""
        metadata = {"name": name, "namespace": NAMESPACE}
        self.node.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}])
        return name

    def credentials(self, upstream: Upstream, name: str = "credentials") -> str:
        """Create a Secret of an upstream's account; return its name."""
        assert upstream.account is not None
        return self.secret(name, username=upstream.account.username, password=upstream.account.password)

    def login(self, upstream: Upstream) -> Json:
        """Return the part of a pod's spec that lets it pull from an upstream."""
        assert upstream.account is not None
        self.node.apply([pull_secret(upstream.host, upstream.account)])
        return {"imagePullSecrets": [{"name": upstream.host}]}

    def apply_mirror(self, name: str, upstream: str, *, megabytes: int | None = None, **spec: Any) -> list[Path]:
        """Apply a mirror with one replica by default, and add a volume for each replica; return the volumes.

        Released volumes are not reused, so that each claim gets a known volume.
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
        """Wait until a mirror is Ready at its current generation."""
        found = eventually(lambda: self.condition(name, "Ready")["status"] == "True", READY_WITHIN)
        assert found, self.describe(name)

    def delete(self, name: str, seconds: float = 90.0) -> None:
        """Delete a mirror; return when it and its pods are gone."""
        self.keep_logs(f"mirror={name}")
        self.kubectl("delete", "rm", name, "--ignore-not-found", f"--timeout={seconds:.0f}s")
        gone = eventually(lambda: not self.remains_of(name), seconds)
        assert gone, self.kubectl("get", "all,pvc", "-l", f"mirror={name}")

    def restart_caches(self, name: str, host: str) -> None:
        """Kill the caches of a mirror; return when they run again and the node uses them for `host`.

        A cache asks its upstream when it starts.
        """
        before = self.started(name)
        for pod in before:
            self.node.run("kill", "-9", *processes(self.node, pod, NAMESPACE))
        self.until(lambda: not set(self.started(name).values()) & set(before.values()))
        self.until(lambda: len(self.ready_pods(name)) == len(before) and self.hosts_toml(host))

    def keep_logs(self, selector: str = "") -> None:
        """Keep the logs of the system's pods before they are deleted."""
        for pod in self.kubectl("get", "pods", "-o", "name", "-l", selector).split():
            text = self.kubectl("logs", pod, "--all-containers", "--tail=-1", check=False)
            self.logs[pod] = self.logs.get(pod, "") + text

    def visible_text(self) -> dict[str, str]:
        """Return all visible text of the system: logs, every object except Secrets, files of the node."""
        self.keep_logs()
        found = objects(self.node.cluster)
        del found["Secret"]
        ours = "/etc/hosts /etc/mirror-hostess /etc/containerd /etc/docker /var/lock/mirror-hostess"
        files = self.node.run("sh", "-c", f"find {ours} -type f -exec cat {{}} +", check=False).stdout
        assert "localhost" in files
        return {**found, **self.logs, "files of the node": files}

    def remains_of(self, name: str) -> list[Json]:
        """Return pods and claims of a mirror, which are deleted after it."""
        return [each for kind in (POD, CLAIM) for each in self.kube.every(kind, labelSelector=f"mirror={name}")]

    def condition(self, name: str, kind: str) -> Json:
        """Return a condition of a mirror at its current generation; an empty one until it exists."""
        mirror = self.kube.get(MIRROR, name)
        found = (mirror.get("status") or {}).get("conditions") or []
        generation = mirror["metadata"]["generation"]
        match = (one for one in found if one["type"] == kind and one["observedGeneration"] == generation)
        return next(match, {"status": "", "reason": "", "message": ""})

    def becomes(self, name: str, kind: str, reason: str, seconds: float = 60.0) -> Json:
        """Wait until a condition has a reason; return the condition."""
        assert eventually(lambda: self.condition(name, kind)["reason"] == reason, seconds), self.describe(name)
        return self.condition(name, kind)

    def events(self, name: str) -> set[str]:
        """Return the reasons of the Events about a mirror."""
        path = "jsonpath={.items[*].reason}"
        found = self.node.cluster.run_kubectl(
            "get", "events", "--field-selector", f"involvedObject.name={name}", "-o", path
        )
        return set(found.stdout.split())

    def describe(self, name: str) -> str:
        """Describe a mirror for the message of an assertion."""
        return "\n".join(
            [
                self.kubectl("describe", "rm", name, check=False)[-4000:],
                self.kubectl("get", "pods", "-l", f"mirror={name}", "-o", "wide", check=False),
                self.kubectl("logs", "-l", f"mirror={name},component=hostess-certificate", "--tail=5", check=False),
            ]
        )

    def agent(self, name: str) -> str:
        """Return the name of a mirror's agent pod; empty without one."""
        pods = self.kube.every(POD, labelSelector=f"mirror={name},component=hostess-certificate")
        return next((str(pod["metadata"]["name"]) for pod in pods), "")

    def hosts_toml(self, host: str) -> bool:
        """Return True if an image host has a hosts.toml."""
        return self.node.exists(f"/etc/containerd/certs.d/{host}/hosts.toml")

    def start_pull(self, image: str, policy: str = "Always", **spec: Any) -> str:
        """Start a pod that has to pull an image; return its name."""
        self._pods += 1
        pod = f"puller-{self._pods}"
        self.node.apply([a_pod(pod, image, container={"imagePullPolicy": policy}, **spec)])
        return pod

    def pull(self, image: str, seconds: float = 60.0, **spec: Any) -> float:
        """Pull an image by a pod and remove both; return the seconds until the pod ran."""
        began = time.monotonic()
        pod = self.start_pull(image, **spec)
        self.runs(pod, image, seconds)
        took = time.monotonic() - began
        self.forget(pod, image)
        return took

    def runs(self, pod: str, image: str, seconds: float = 60.0) -> None:
        """Wait until a pod runs the expected image."""
        ready = f"--timeout={max(1, round(seconds))}s"
        done = self.node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", ready, check=False)
        assert done.returncode == 0, self.node.cluster.run_kubectl("describe", "pod", pod).stdout[-3000:]
        assert logs(self.node, pod) == f"this is {image}\n"

    def running(self, pod: str) -> bool:
        """Return True if a pod runs."""
        return bool(self.kube.get(POD, pod, "default")["status"]["phase"] == "Running")

    def forget(self, pod: str, image: str) -> None:
        """Remove a pod and its image from the node."""
        remove(self.node, pod)
        self.node.forget_image(image)

    def fails(self, image: str, seconds: float = 60.0) -> str:
        """Let a pod fail to pull an image; return the kubelet's message."""
        pod = self.start_pull(image)
        found = eventually(lambda: self.pull_error(pod), seconds)
        assert found, self.node.cluster.run_kubectl("describe", "pod", pod).stdout[-3000:]
        message = self.pull_error(pod)
        remove(self.node, pod)
        return message

    def failed_pulls(self) -> str:
        """Return the kubelet's messages about all failed pulls so far."""
        fields = "--field-selector=reason=Failed,involvedObject.kind=Pod"
        return self.node.cluster.run_kubectl("get", "events", fields, "-o", "jsonpath={.items[*].message}").stdout

    def pull_error(self, pod: str) -> str:
        """Return the kubelet's message about a failed pull; empty before, and once the pod runs."""
        status = self.kube.get(POD, pod, "default")["status"]
        waiting = [each["state"].get("waiting") or {} for each in status.get("containerStatuses") or ()]
        return waiting[0].get("message", "") if waiting else ""

    @contextmanager
    def without_controller(self) -> Iterator[None]:
        """Scale the controller to zero, so that it repairs nothing meanwhile."""
        self.system.scale("controller", 0)
        selector = "app.kubernetes.io/name=registrymirror-controller"
        self.until(lambda: not self.kube.every(POD, labelSelector=selector))  # the rollout ignores terminating pods
        try:
            yield
        finally:
            self.system.scale("controller", 2)

    def until(
        self, question: Callable[[], object], seconds: float = 60.0, describe: Callable[[], object] = lambda: ""
    ) -> float:
        """Wait for a state; return the seconds. On failure the message contains `describe`."""
        began = time.monotonic()
        assert eventually(question, seconds), f"not within {seconds:.0f} s. {describe()}"
        return time.monotonic() - began
