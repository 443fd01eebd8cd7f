"""Run the system on a local cluster: deploy/ is applied, webhook and controller are processes of this machine.

The webhook's Service has the type ExternalName, so that the API server checks the certificate against the real name.
The controller has the account and the permissions of deploy/.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import yaml

from common.types import Json
from tests.localcluster.cluster import Cluster
from tests.localcluster.commands import CONTROLLER_MANAGER
from tests.localcluster.pages import is_open, page
from tests.localcluster.ports import LOOPBACK, free_port
from tests.localcluster.processes import Processes

REPOSITORY = Path(__file__).parents[2]
NAMESPACE = "registry-mirror"
CONTROLLER = "registrymirror-controller"
WEBHOOK = "registrymirror-webhook"
CERTIFICATE = "registrymirror-webhook-tls"
# Kinds that need a node.
_FOR_PODS = frozenset({"Deployment", "DaemonSet", "PodDisruptionBudget"})


class System:
    """Webhook and controller next to a cluster. `environment` adds to their variables."""

    def __init__(self, cluster: Cluster, environment: Mapping[str, str] | None = None) -> None:
        self.cluster = cluster
        self.environment = dict(environment or {})
        self.namespace = NAMESPACE
        self.manifests = REPOSITORY / "deploy"
        self.processes = Processes(cluster.folder)
        self.webhook_port = free_port()
        self.metrics_port = free_port()
        self._mount = cluster.folder / "webhook-certificate"

    def install(self) -> Self:
        """Apply the manifests; return when the API server serves RegistryMirrors."""
        manifests = "---\n".join(json.dumps(each) + "\n" for each in self._manifests())
        self.cluster.run_kubectl("apply", "--filename=-", stdin=manifests)
        self.cluster.run_kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", "crd/registrymirrors.k8s.osp.tech"
        )
        if CONTROLLER_MANAGER in self.cluster.components:
            self.cluster.restart_controllers()
        return self

    def start(self) -> Self:
        """Start both programs and the sync of the webhook's certificate; return when both are ready."""
        self.start_controller()
        self.start_secret_sync()
        self.start_webhook()
        return self

    def start_controller(self, name: str = "controller", *, module: str = "controller", **environment: str) -> int:
        """Start a controller called `name`; return its metrics port when its cache is complete.

        `module` is the program to run.
        """
        port = self.launch_controller(name, module=module, **environment)
        self.processes.wait_ready(name, lambda: page(port, "/readyz") is not None)
        return port

    def launch_controller(self, name: str = "controller", *, module: str = "controller", **environment: str) -> int:
        """Start a controller and return its metrics port at once."""
        port = self.metrics_port if name == "controller" else free_port()
        user = f"system:serviceaccount:{NAMESPACE}:{CONTROLLER}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
        own = {
            "KUBECONFIG": str(self.cluster.kubeconfig_for(user, groups)),
            "NAMESPACE": NAMESPACE,
            "METRICS_PORT": str(port),
            **_images_of_mirrors(),
        }
        self._launch(name, module, {**own, **self.environment, **environment})
        return port

    def start_webhook(self, name: str = "webhook", **environment: str) -> None:
        """Start the webhook; return when it accepts connections."""
        own = {
            "WEBHOOK_HOST": LOOPBACK,
            "WEBHOOK_PORT": str(self.webhook_port),
            "TLS_CERT_FILE": str(self._mount / "tls.crt"),
            "TLS_KEY_FILE": str(self._mount / "tls.key"),
        }
        self._launch(name, "webhook", {**own, **self.environment, **environment})
        self.processes.wait_ready(name, lambda: is_open(self.webhook_port))

    def start_secret_sync(self) -> None:
        """Start the sync of the webhook's certificate to files."""
        kubectl = str(self.cluster.kubectl)
        argv = [
            sys.executable,
            "-m",
            "tests.localcluster.secret_sync",
            kubectl,
            NAMESPACE,
            CERTIFICATE,
            str(self._mount),
        ]
        environment = {**self.cluster.client_environment, "PYTHONPATH": str(REPOSITORY)}
        self.processes.start("secret-sync", argv, environment)

    def stop(self) -> None:
        """Stop the programs started here, not the cluster."""
        ours = [name for name in self.processes.names() if name.startswith(("webhook", "controller", "secret-sync"))]
        self.processes.stop(ours)

    def _launch(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        inherited = {**self.cluster.client_environment, "PYTHONPATH": str(REPOSITORY)}
        self.processes.start(name, [sys.executable, "-m", module], {**inherited, **environment})

    def _manifests(self) -> Iterator[Json]:
        """Yield the objects of `manifests` without Deployments; the webhook's Service leads to this machine."""
        rendered = self.cluster.run_kubectl("kustomize", str(self.manifests)).stdout
        for each in yaml.safe_load_all(rendered):
            if each["kind"] not in _FOR_PODS:
                yield self._local(each)

    def _local(self, each: Json) -> Json:
        if each["kind"] == "Service" and each["metadata"]["name"] == WEBHOOK:
            return {**each, "spec": {"type": "ExternalName", "externalName": LOOPBACK}}
        for webhook in each.get("webhooks", []):
            webhook["clientConfig"]["service"]["port"] = self.webhook_port
        return each


def _images_of_mirrors() -> dict[str, str]:
    """Return the variables of deploy/ with the images of caches and node agents.

    The controller recognises the project's agent by its image.
    """
    for each in yaml.safe_load_all((REPOSITORY / "deploy" / "controller.yaml").read_text()):
        if each["kind"] == "Deployment":
            variables = each["spec"]["template"]["spec"]["containers"][0]["env"]
            return {one["name"]: one["value"] for one in variables if one["name"].startswith(("CACHE_", "HOSTESS_"))}
    return {}
