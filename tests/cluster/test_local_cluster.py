"""The local cluster itself: what `tests.localcluster` promises to the tests, the demo and the benchmarks."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.localcluster.cluster import Cluster
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.layout import Layout
from tests.localcluster.pki import CertificateAuthority
from tests.support.audit import entries

REPOSITORY = Path(__file__).parents[2]
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}
SERVICE_ACCOUNT = "system:serviceaccount:registry-mirror:registry-mirror-controller"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Share one cluster between tests that leave it unchanged. It ignores the proxy of the environment."""
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    with Cluster(tmp_path_factory.mktemp("shared") / "cluster", environment).start() as started:
        yield started


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes on this machine that name `folder` or work in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            works_in = str(entry.joinpath("cwd").readlink())
        except OSError:  # it has ended meanwhile
            continue
        if entry.name != str(os.getpid()) and (str(folder) in command or works_in.startswith(str(folder))):
            found.append(command)
    return found


def eventually(question: Any, seconds: float = 60.0) -> bool:
    """Return True if `question` becomes true within `seconds`."""
    limit = time.monotonic() + seconds
    while not (answer := bool(question())) and time.monotonic() < limit:
        time.sleep(0.02)
    return answer


def local(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.localcluster` for the cluster in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.localcluster", command],
        cwd=REPOSITORY,
        env={**os.environ, "LOCAL_CLUSTER": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_up_and_down(tmp_path: Path) -> None:
    """The cluster outlives `up`, and a second `up` changes nothing. `down` leaves no process and no file."""
    folder = tmp_path / "a folder" / "cluster"
    first, again = local("up", folder), local("up", folder)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == again.stdout.splitlines()[-1] == f"export KUBECONFIG={folder}/kubeconfig"
    assert "is already up at" in again.stdout
    assert Cluster(folder).run_kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").stdout == "admin"
    assert len(processes_of(folder)) == 4
    down = local("down", folder)
    assert down.returncode == 0, down.stderr
    assert not processes_of(folder)
    assert not folder.exists()
    assert local("down", folder).stdout == f"No cluster is up: {folder} does not exist.\n"


def test_an_interrupted_up_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while the API server is starting ends what was started and removes the folder."""
    folder = tmp_path / "cluster"
    up = subprocess.Popen(
        [sys.executable, "-m", "tests.localcluster", "up"],
        cwd=REPOSITORY,
        env={**os.environ, "LOCAL_CLUSTER": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert eventually((folder / "run" / "kube-apiserver.json").exists)
    up.send_signal(signal.SIGINT)
    assert up.communicate()[1].endswith("\nInterrupted.\n")
    assert up.returncode == 130
    assert not processes_of(folder)
    assert not folder.exists()


def test_cluster_ends_with_killed_program(tmp_path: Path) -> None:
    """A test run that is killed by -9 leaves no processes behind."""
    folder = tmp_path / "cluster"
    code = f"import pathlib, time, tests.localcluster.cluster as c; x = c.Cluster(pathlib.Path({str(folder)!r}))\n"
    code += "x.start(controllers=False, scheduler=False); print('up', flush=True); time.sleep(60)"
    program = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        program.kill()
    assert eventually(lambda: not processes_of(folder))


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    """`up` and `down` refuse a folder with other files."""
    (tmp_path / "letter.txt").write_text("dear")
    for command in ("up", "down"):
        done = local(command, tmp_path)
        assert done.returncode == 1
        assert done.stderr == (f"{tmp_path} has files of something else. Name a folder that is new or empty.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_two_clusters_are_independent(cluster: Cluster, tmp_path: Path) -> None:
    """Each has ports, certificates and data of its own."""
    with Cluster(tmp_path / "second").start(controllers=False, scheduler=False) as second:
        second.run_kubectl("create", "namespace", "only-in-the-second")
        assert cluster.url != second.url
        assert "only-in-the-second" not in cluster.run_kubectl("get", "namespaces").stdout
        stranger = cluster.run_kubectl("--server", second.url, "get", "namespaces", check=False)
        assert "certificate signed by unknown authority" in stranger.stderr


def test_killed_components_come_back_with_their_data(cluster: Cluster) -> None:
    """API server, etcd and controller manager are killed by -9; started again, all is where it was."""
    url = cluster.url
    cluster.run_kubectl("create", "configmap", "kept", "--from-literal=a=b")
    for component in ("kube-apiserver", "etcd", "kube-controller-manager"):
        cluster.kill(component)
        assert not cluster.alive(component)
        cluster.start_component(component)
        assert cluster.alive(component)
    assert cluster.url == url
    assert cluster.run_kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}").stdout == "b"
    cluster.run_kubectl("delete", "configmap", "kept")


def test_rbac_applies_to_users(cluster: Cluster) -> None:
    """kubeconfig_for a service account: forbidden, and allowed as soon as a role is bound to it."""
    groups = ["system:serviceaccounts", "system:serviceaccounts:registry-mirror"]
    kubeconfig = cluster.kubeconfig_for(SERVICE_ACCOUNT, groups)
    whoami = json.loads(cluster.run_kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig).stdout)
    assert whoami["status"]["userInfo"]["username"] == SERVICE_ACCOUNT
    assert whoami["status"]["userInfo"]["groups"] == [*groups, "system:authenticated"]
    refused = cluster.run_kubectl("get", "secrets", kubeconfig=kubeconfig, check=False)
    assert f'User "{SERVICE_ACCOUNT}" cannot list resource "secrets"' in refused.stderr
    bind = ("create", "rolebinding", "reads", "--clusterrole=admin")
    cluster.run_kubectl(*bind, "--serviceaccount=registry-mirror:registry-mirror-controller")
    assert eventually(lambda: cluster.run_kubectl("get", "secrets", kubeconfig=kubeconfig, check=False).returncode == 0)
    cluster.run_kubectl("delete", "rolebinding", "reads")


def test_longest_user_name_works(cluster: Cluster) -> None:
    """A user name may be longer than the 64 characters that X.520 gives a common name."""
    user = f"system:serviceaccount:{'n' * 63}:{'a' * 253}"
    kubeconfig = cluster.kubeconfig_for(user)
    output = cluster.run_kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=kubeconfig)
    assert output.stdout == user


def test_audit_log_precedes_answer(cluster: Cluster) -> None:
    """Each request is one line, with who asked what and the answer's status."""
    cluster.run_kubectl("get", "configmap", "never-made", check=False)
    events = list(entries(cluster))
    (event,) = [event for event in events if event["requestURI"].endswith("/configmaps/never-made")]
    assert (event["user"]["username"], event["verb"], event["responseStatus"]["code"]) == ("admin", "get", 404)
    assert {event["stage"] for event in events} <= {"ResponseStarted", "ResponseComplete", "Panic"}


def test_controllers_work(cluster: Cluster) -> None:
    """A Deployment gets its pods, and deleting it takes them along: Kubernetes' own garbage collection."""
    cluster.run_kubectl("create", "deployment", "web", "--image=web", "--replicas=2")
    assert eventually(lambda: len(pods_of(cluster, "web")) == 2)
    cluster.run_kubectl("delete", "deployment", "web")
    assert eventually(lambda: not pods_of(cluster, "web"))


def test_restarted_controllers_collect_new_kinds(cluster: Cluster) -> None:
    """The garbage collector knows a CRD's kind at once after restart_controllers, not most of a minute later."""
    cluster.run_kubectl("apply", "-f", "-", stdin=json.dumps(WIDGETS))
    cluster.run_kubectl("wait", "--for=condition=Established", "crd/widgets.example.com")
    cluster.restart_controllers()
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "owner"}}
    made = cluster.run_kubectl("create", "-f", "-", "-o", "jsonpath={.metadata.uid}", stdin=json.dumps(widget))
    reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": made.stdout}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [reference]}}
    cluster.run_kubectl("create", "-f", "-", stdin=json.dumps(owned))
    cluster.run_kubectl("delete", "widget", "owner")
    # It looks for new kinds by itself every 30 s.
    assert eventually(lambda: cluster.run_kubectl("get", "configmap", "owned", check=False).returncode == 1, 25)
    cluster.run_kubectl("delete", "crd", "widgets.example.com")


def pods_of(cluster: Cluster, app: str) -> list[str]:
    """Return the names of the pods with that label."""
    return cluster.run_kubectl("get", "pods", "-l", f"app={app}", "-o", "name").stdout.split()


def test_failed_start_leaves_nothing(tmp_path: Path) -> None:
    """The end of the component's log is in the error."""
    cluster = Cluster(tmp_path / "cluster")
    with pytest.raises(
        LocalClusterError, match=r"kube-apiserver ended while starting(?s:.*)unknown flag: --no-such-flag"
    ) as e:
        cluster.start(extra_apiserver_args=["--no-such-flag"])
    assert str(cluster.folder / "logs" / "kube-apiserver.log") in str(e.value)
    assert not processes_of(cluster.folder)


class Refusal(BaseHTTPRequestHandler):
    """A validating webhook that refuses whatever it is asked."""

    def do_POST(self) -> None:
        """Answer a review."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        review["response"] = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": "not today"}}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep silent."""


@contextmanager
def refusing_webhook(cluster: Cluster, host: str) -> Iterator[int]:
    """Serve it on 127.0.0.1 with a certificate for `host`, and give its port."""
    identity = CertificateAuthority(Layout(cluster.folder).ca).server(host, [host])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity.certificate, identity.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("external_name", ["localhost", "127.0.0.1"])
def test_external_name_service_reaches_local_webhook(cluster: Cluster, external_name: str) -> None:
    """The API server dials the external name at the port of clientConfig, and checks the name of the Service."""
    service = f"hook-{external_name.replace('.', '-')}"
    cluster.run_kubectl("create", "service", "externalname", service, f"--external-name={external_name}")
    with refusing_webhook(cluster, f"{service}.default.svc") as port:
        registration = webhook_registration(service, port, cluster.ca_file.read_text())
        cluster.run_kubectl("apply", "-f", "-", stdin=json.dumps(registration))
        create = ("create", "configmap", "unwanted", "--dry-run=server")
        assert eventually(lambda: "not today" in cluster.run_kubectl(*create, check=False).stderr)
        cluster.run_kubectl("delete", "validatingwebhookconfiguration", service)


def webhook_registration(service: str, port: int, ca: str) -> dict[str, Any]:
    """Return a registration for ConfigMaps called `unwanted`."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": service},
        "webhooks": [
            {
                "name": "refusal.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ],
                "matchConditions": [{"name": "unwanted", "expression": "object.metadata.name == 'unwanted'"}],
                "clientConfig": {
                    "caBundle": base64.b64encode(ca.encode()).decode(),
                    "service": {"name": service, "namespace": "default", "port": port, "path": "/"},
                },
            }
        ],
    }
