"""The system itself as pods of its own images, installed as README says."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.localcluster.node import dockerfiles
from tests.localcluster.node.fake_server import processes
from tests.localcluster.node.installed import NAMESPACE, REPOSITORY
from tests.support.traces import agents, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.testbed import Testbed

TOKEN = "/var/run/secrets/kubernetes.io"
NOT_ON_LINUX: set[str] = set()  # packages of the locks that no image has
# Bytes, unpacked, over the base.
LIMITS = {"webhook": 120_000_000, "controller": 120_000_000, "cache": 120_000_000, "hostess": 80_000_000}
AGENT = 32 * 1024 * 1024  # bytes of memory, as there is one a mirror on every node


def replicas(testbed: Testbed, program: str) -> dict[str, str]:
    """Return the pods of webhook or controller and their process ids."""
    label = f"app.kubernetes.io/name=registrymirror-{program}"
    printed = json.loads(
        testbed.kubectl("get", "pods", "-l", label, "--field-selector=status.phase=Running", "-o", "json")
    )
    names = [pod["metadata"]["name"] for pod in printed["items"] if "deletionTimestamp" not in pod["metadata"]]
    return {name: processes(testbed.node, name, NAMESPACE)[0] for name in names}


@pytest.mark.parametrize("program", LIMITS)
def test_the_images_are_small(program: str, record_testsuite_property: Callable[[str, object], None]) -> None:
    """The size is without the shared Python image."""
    size = dockerfiles.unpacked_over_base(dockerfiles.build(program))
    record_testsuite_property(f"bytes of {program}", size)
    assert size < LIMITS[program]


def locked(program: str) -> dict[str, set[str]]:
    """Return the packages of a program's lock as `name==version` with their hashes; empty for the node agent."""
    file = REPOSITORY / "deploy" / "requirements" / f"{program}.txt"
    entries = re.split(r"^(?=\S)", file.read_text() if file.exists() else "", flags=re.MULTILINE)
    return {entry.split()[0]: set(re.findall(r"sha256:(\w+)", entry)) for entry in entries if entry}


@pytest.mark.parametrize("program", LIMITS)
def test_images_have_bill_of_materials(program: str) -> None:
    """The bill of materials has Python and the packages of the lock, each with a hash of the lock."""
    text = dockerfiles.content(dockerfiles.build(program), "app/sbom.cdx.json").decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == program
    python, packages = (
        [each for each in bill["components"] if each["type"] == kind] for kind in ("platform", "library")
    )
    assert [each["name"] for each in python] == ["python"]
    allowed = locked(program)
    for each in packages:
        (digest,) = each["hashes"]
        assert digest["content"] in allowed[each["bom-ref"]]
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        assert each["licenses"], each["name"]
    # The lock is for other systems too: what only they need is not there.
    assert allowed.keys() - {each["bom-ref"] for each in packages} <= NOT_ON_LINUX


def test_webhook_has_no_token(testbed: Testbed) -> None:
    """There is nothing in its file system to talk to the API server with."""
    webhooks, controllers = replicas(testbed, "webhook"), replicas(testbed, "controller")
    assert len(webhooks) == len(controllers) == 2
    for pid in webhooks.values():
        assert testbed.node.exists(f"/proc/{pid}/root/etc/registrymirror-webhook/tls.crt")
        assert not testbed.node.exists(f"/proc/{pid}/root{TOKEN}")
    for pid in controllers.values():
        assert testbed.node.exists(f"/proc/{pid}/root{TOKEN}")


def test_the_agent_is_small_in_memory(
    testbed: Testbed, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Shared pages count. The other programs are recorded only."""
    testbed.mirror("memory", testbed.world)
    testbed.pull(testbed.world.push("lib/memory:1", (2.0,)))
    (agent,) = agents(testbed.node, "memory")
    (cache,) = processes(testbed.node, "registry-mirror-memory-0", NAMESPACE)
    found = {"hostess": [agent], "cache": [cache]}
    found |= {program: list(replicas(testbed, program).values()) for program in ("webhook", "controller")}
    sizes = {program: max(resident(testbed.node, pid) for pid in pids) for program, pids in found.items()}
    for program, size in sizes.items():
        record_testsuite_property(f"resident bytes of {program}", size)
    assert sizes["hostess"] < AGENT
    testbed.delete("memory")


@contextmanager
def applying(testbed: Testbed) -> Iterator[list[str]]:
    """Apply changes of a mirror during the block; yield kubectl's output."""
    printed: list[str] = []
    ended = threading.Event()
    command = [str(testbed.node.cluster.kubectl), f"--kubeconfig={testbed.node.cluster.kubeconfig}", "apply", "-f", "-"]

    def apply_each() -> None:
        while not ended.is_set():
            spec = {"upstreamUrl": testbed.world.host, "replicas": 1, "ttl": f"{len(printed) + 1}h"}
            body = {"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror", "metadata": {"name": "scaled"}}
            manifest = json.dumps({**body, "spec": spec})
            done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)
            printed.append(done.stdout if done.returncode == 0 else done.stderr)

    thread = threading.Thread(target=apply_each)
    thread.start()
    try:
        yield printed
    finally:
        ended.set()
        thread.join()


def test_scaling_fails_no_apply(testbed: Testbed) -> None:
    """Three webhooks and one controller, and back: no apply fails, and the last one is followed."""
    with applying(testbed) as printed:
        for program, number in (("webhook", 3), ("controller", 1), ("controller", 2), ("webhook", 1), ("webhook", 2)):
            testbed.system.scale(program, number)
            testbed.until(lambda program=program, number=number: len(replicas(testbed, program)) == number)  # type: ignore[misc]
            applied = len(printed)
            testbed.until(lambda applied=applied: len(printed) > applied + 3)  # type: ignore[misc]
    assert [each for each in printed if not each.startswith("registrymirror.k8s.osp.tech/scaled ")] == []
    configuration = ("get", "secret", "registry-mirror-scaled", "-o", "jsonpath={.data}")
    assert testbed.kubectl(*configuration)
    testbed.until(lambda: testbed.condition("scaled", "Accepted")["status"] == "True")
    testbed.delete("scaled")


def test_server_side_apply_keeps_ca(testbed: Testbed) -> None:
    """It was installed by client-side apply. There is no conflict, and the published CA stays."""
    bundle = ("get", "mutatingwebhookconfiguration", "registrymirror", "-o", "jsonpath={..caBundle}")
    published = testbed.kubectl(*bundle)
    assert published
    testbed.node.cluster.run_kubectl("apply", "--server-side", f"--kustomize={testbed.system.folder}")
    testbed.system.wait()
    assert testbed.kubectl(*bundle) == published
