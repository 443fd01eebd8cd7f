"""The node itself: what `deploy.local.node` promises to the tests that pull through a mirror on it."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from deploy.local.node import images
from deploy.local.node.able import why_not
from deploy.local.node.node import Node
from deploy.local.node.runtime import FLAVOURS
from deploy.local.node.upstream import Account, Upstream

REPOSITORY = Path(__file__).parents[2]
ACCOUNT = Account("puller", "a password: {with} #signs")

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=why_not() or ""),
    pytest.mark.timeout(1800),  # a first run builds containerd, runc and CoreDNS
]


@pytest.fixture(scope="module", params=FLAVOURS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Share one node of each flavour between the tests that leave it as it was."""
    with Node(Cluster(tmp_path_factory.mktemp("node") / "cluster"), flavour=request.param).start() as started:
        yield started


def eventually(question: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether `question` answers with something true within `seconds`."""
    limit = time.monotonic() + seconds
    while not (answer := bool(question())) and time.monotonic() < limit:
        time.sleep(0.1)
    return answer


def a_pod(name: str, image: str = images.BUSYBOX_IMAGE, **spec: Any) -> dict[str, Any]:
    """Describe a pod that sleeps, or does what its image does."""
    container = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}
    if image == images.BUSYBOX_IMAGE:
        container["command"] = ["sleep", "100000"]  # type: ignore[assignment]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container | spec.pop("container", {})], **spec},
    }


def a_service(name: str) -> dict[str, Any]:
    """Describe a Service for the pod of that name, port 80."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def runs(node: Node, pod: str, seconds: int = 60) -> None:
    """Wait until a pod is Ready; the failure says what its events say."""
    done = node.cluster.run_kubectl("wait", "--for=condition=Ready", f"pod/{pod}", f"--timeout={seconds}s", check=False)
    assert done.returncode == 0, node.cluster.run_kubectl("describe", "pod", pod).stdout[-2000:]


@pytest.fixture(scope="module")
def web(node: Node) -> str:
    """A web server in a pod, behind the Service `web`; its cluster IP."""
    serve = "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    pod = a_pod("web", container={"command": ["sh", "-c", serve]})
    node.apply([pod, a_service("web"), a_pod("client")])
    runs(node, "web")
    runs(node, "client")
    address = node.cluster.run_kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert eventually(lambda: node.answers(address, 80))
    return address


def test_the_node_runs_the_runtime_that_was_asked_for(node: Node) -> None:
    """Kubelet tells the runtime's version; 1.6 is Debian's."""
    version = "jsonpath={.status.nodeInfo.containerRuntimeVersion}"
    found = node.cluster.run_kubectl("get", "node", node.name, "-o", version).stdout
    assert found.startswith({"containerd-1.6": "containerd://1.6.", "containerd-2": "containerd://2."}[node.flavour])


def test_pods_see_each_other_by_a_service_and_its_name(node: Node, web: str) -> None:
    """From a pod: CoreDNS, kube-proxy and CNI together."""
    said = node.cluster.run_kubectl("exec", "client", "--", "wget", "-q", "-O-", "http://web.default.svc.cluster.local")
    assert said.stdout == "hello\n"
    assert node.run("busybox", "wget", "-q", "-O-", f"http://{web}").stdout == "hello\n"


def test_the_api_server_reaches_pods_by_a_service(node: Node, web: str) -> None:
    """As it has to for a webhook that runs in a pod."""
    assert web
    proxied = node.cluster.run_kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/")
    assert proxied.stdout == "hello\n"


def test_pods_reach_the_api_server_by_its_service(node: Node, web: str) -> None:
    """Its certificate holds that name, and a pod's CA file is the cluster's."""
    assert web
    assert node.answers("10.96.0.1", 443)
    said = node.cluster.run_kubectl("exec", "client", "--", "nslookup", "kubernetes.default.svc.cluster.local").stdout
    assert "10.96.0.1" in said


def test_packets_vanish_and_come_back(node: Node, web: str) -> None:
    """A blackholed Service takes no connection, and does again."""
    node.drop_packets(web)
    assert not node.answers(web, 80)
    node.let_packets(web)
    assert node.answers(web, 80)


def test_the_files_of_the_node_are_not_those_of_this_machine(node: Node) -> None:
    """Its /etc is its own; so is what it is called."""
    before = Path("/etc/hosts").read_bytes()
    node.write("/etc/containerd/certs.d/example.com/hosts.toml", "# ours\n")
    node.add_name("only.local.test", "192.0.2.1")
    assert node.read("/etc/containerd/certs.d/example.com/hosts.toml") == b"# ours\n"
    assert b"192.0.2.1 only.local.test\n" in node.read("/etc/hosts")
    assert not Path("/etc/containerd/certs.d/example.com").exists()
    assert Path("/etc/hosts").read_bytes() == before
    assert node.run("hostname").stdout.strip() == node.name
    node.run("rm", "-r", "/etc/containerd/certs.d/example.com")


def test_a_claim_gets_a_volume_that_anybody_may_write_to(node: Node) -> None:
    """The default StorageClass has the volumes made by hand; the registry is not root."""
    node.add_volumes(1)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "claim"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = a_pod("writer", container=mount, volumes=[volume], securityContext={"runAsUser": 65532})
    node.apply([claim, pod])
    runs(node, "writer")
    node.cluster.run_kubectl("exec", "writer", "--", "touch", "/data/written")


def test_containerd_can_be_away(node: Node, web: str) -> None:
    """Pods that run go on without it; started again, it starts new ones."""
    node.stop_component("containerd")
    assert node.ctr("version", check=False).returncode != 0
    assert node.answers(web, 80)
    node.start_component("containerd")
    node.apply([a_pod("after")])
    runs(node, "after")


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
def test_a_pod_pulls_from_a_registry_with_tls_and_accounts(node: Node, tokens: bool) -> None:  # noqa: FBT001
    """Without CA and password it does not; with both it does, and the registry has counted it."""
    host = f"{'tokens' if tokens else 'basic'}.local.test"
    upstream = Upstream(node, host, number=3 if tokens else 2, account=ACCOUNT, tokens=tokens).prepare().start()
    image = upstream.push("lib/test:1", (1.0, 0.5))
    node.write(f"/etc/containerd/certs.d/{host}/ca.crt", upstream.ca_file.read_bytes())
    asked = upstream.requests(part="/v2/lib/test/blobs/")
    node.apply([pull_secret(host, ACCOUNT), a_pod(f"puller-{host}", image, imagePullSecrets=[{"name": host}])])
    runs(node, f"puller-{host}")
    assert node.cluster.run_kubectl("logs", f"puller-{host}").stdout == f"this is {image}\n"
    assert upstream.requests(part="/v2/lib/test/blobs/") >= asked + 4  # all but busybox, which the node has
    node.apply([a_pod(f"stranger-{host}", image, container={"imagePullPolicy": "Always"})])
    assert eventually(lambda: "ErrImagePull" in reason(node, f"stranger-{host}"))
    upstream.stop()
    assert not node.answers(upstream.address, 443)


def pull_secret(host: str, account: Account) -> dict[str, Any]:
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


def reason(node: Node, pod: str) -> str:
    """Why the container of a pod waits."""
    path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    return node.cluster.run_kubectl("get", "pod", pod, "-o", path).stdout.replace("ImagePullBackOff", "ErrImagePull")


def traces(folder: Path) -> list[str]:
    """What there is of the node of the cluster in `folder`: processes, mounts, interfaces, cgroups."""
    processes = [
        entry.name
        for entry in Path("/proc").glob("[0-9]*")
        if entry.name != str(os.getpid()) and str(folder).encode() in _read(entry / "cmdline")
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    links = [path.name for path in Path("/sys/class/net").glob("rm-node*") if path.name in LINKS.get(folder, ())]
    groups = [str(path) for path in GROUPS.get(folder, ()) if path.exists()]
    return processes + mounts + links + groups


LINKS: dict[Path, set[str]] = {}
GROUPS: dict[Path, list[Path]] = {}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def remember(folder: Path) -> None:
    """Note which interface and which cgroups are those of the node in `folder`."""
    LINKS[folder] = {f"rm-node{(folder / 'link').read_text()}"}
    GROUPS[folder] = [Path(line) for line in (folder / "cgroups").read_text().splitlines()]


def test_a_node_ends_with_a_program_that_was_killed(tmp_path: Path) -> None:
    """A test run that is killed by -9 leaves no processes, mounts, interfaces and cgroups behind."""
    folder = tmp_path / "cluster"
    code = (
        "import pathlib, time; from deploy.local.cluster import Cluster; from deploy.local.node.node import Node\n"
        f"Node(Cluster(pathlib.Path({str(folder)!r}))).start(); print('up', flush=True); time.sleep(600)"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        remember(folder)
        assert len(traces(folder)) > 10
        program.kill()
    assert eventually(lambda: not traces(folder)), traces(folder)


def test_up_with_a_node_and_down(tmp_path: Path) -> None:
    """`up --node` outlives its program, and `down` leaves nothing."""
    folder = tmp_path / "cluster"
    local("up", "--node", folder=folder)
    remember(folder)
    assert "node1" in Cluster(folder).run_kubectl("get", "nodes", "-o", "name").stdout
    local("down", folder=folder)
    assert not traces(folder)
    assert not folder.exists()


def local(*arguments: str, folder: Path) -> None:
    """Run `python -m deploy.local` for the cluster in `folder`."""
    command = [sys.executable, "-m", "deploy.local", *arguments]
    environment = {**os.environ, "LOCAL_CLUSTER": str(folder)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
