"""Pods on a real node, for tests that have one: described, waited for, asked why they wait."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from tests.localcluster.node import images

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from tests.localcluster.node.accounts import Account
    from tests.localcluster.node.node import Node

POLL = 0.2  # seconds; most questions here are a kubectl, which costs as much as what it asks for


def eventually(question: Callable[[], object], seconds: float = 30.0) -> bool:
    """Return True if `question` becomes true within `seconds`."""
    limit = time.monotonic() + seconds
    while not (answer := bool(question())) and time.monotonic() < limit:
        time.sleep(POLL)
    return answer


def a_pod(name: str, image: str = images.BUSYBOX_IMAGE, **spec: Any) -> Json:
    """Describe a pod that sleeps, or does what its image does; `container` is merged into its one container."""
    container: Json = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}
    if image == images.BUSYBOX_IMAGE:
        container["command"] = ["sleep", "100000"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container | spec.pop("container", {})], **spec},
    }


def a_service(name: str) -> Json:
    """Describe a Service for the pod of that name, port 80."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def pull_secret(host: str, account: Account) -> Json:
    """Describe the Secret of an account at a registry, called like it."""
    auth = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
    data = {"auths": {host: {"username": account.username, "password": account.password, "auth": auth}}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": host},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps(data)},
    }


def runs(node: Node, pod: str, seconds: int = 60) -> None:
    """Wait until a pod is Ready; the failure says what its events say."""
    done = node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", f"--timeout={seconds}s", check=False)
    assert done.returncode == 0, node.cluster.run_kubectl("describe", "pod", pod).stdout[-2000:]


def logs(node: Node, pod: str) -> str:
    """Return what a pod has said, which a test image does in one line: `this is <its full name>`.

    Waited for: a pod is ready from when its process is there, and that says it a moment later.
    """
    said = ""

    def has_spoken() -> bool:
        nonlocal said
        said = node.cluster.run_kubectl("logs", pod).stdout
        return said.endswith("\n")

    eventually(has_spoken)
    return said


def reason(node: Node, pod: str) -> str:
    """Return why the container of a pod waits: `ErrImagePull` for ImagePullBackOff too."""
    path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    return node.cluster.run_kubectl("get", "pod", pod, "-o", path).stdout.replace("ImagePullBackOff", "ErrImagePull")


def remove(node: Node, *pods: str) -> None:
    """Delete pods; return when they are gone."""
    node.cluster.run_kubectl("delete", "pod", "--ignore-not-found", "--wait", *pods)
