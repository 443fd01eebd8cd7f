"""Install the system in a node as documented: images from the Dockerfiles, `kubectl apply -k` of an overlay.

system = Installed(node, CERTIFICATE_OVERLAP="40s").install()
system.set_environment(CA_CERTIFICATE_BUNDLE="bundle")   # waits until the controller has it
system.scale("webhook", 3); system.uninstall()
"""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from common.types import Json
from tests.localcluster.node import dockerfiles
from tests.localcluster.node.node import Node

REPOSITORY = Path(__file__).parents[3]
DEPLOY = REPOSITORY / "deploy"
NAMESPACE = "registry-mirror"
TIMEOUT = "120s"


class Installed:
    """The system of deploy/ in the node's cluster. `environment` adds to the controller's variables."""

    def __init__(self, node: Node, **environment: str) -> None:
        self.node = node
        self.folder = node.folder / "installed"
        self.environment = {**_images_of_mirrors(), **environment}

    def install(self) -> "Installed":
        """Build and import the images, apply deploy/, wait until all replicas are ready; return itself."""
        self.import_images()
        self.apply()
        return self.settle()

    def import_images(self) -> None:
        """Build the images and import them into the node."""
        for program in programs():
            self.node.import_image(dockerfiles.build(program))

    def settle(self) -> "Installed":
        """Let Kubernetes collect the garbage of the new kind, and wait for all pods; return itself."""
        self.node.cluster.restart_controllers()  # otherwise garbage collection of mirrors takes half a minute
        return self.wait()

    def apply(self) -> None:
        """Write an overlay and apply it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        base = self.folder / "base"
        if not base.exists():
            base.symlink_to(DEPLOY)
        self.folder.joinpath("kustomization.yaml").write_text(yaml.safe_dump(self._overlay()))
        self.node.cluster.run_kubectl("apply", f"--kustomize={self.folder}")

    def wait(self) -> "Installed":
        """Wait until both Deployments and the dialer have all pods of the latest template; return itself."""
        for program in ("webhook", "controller"):
            self._rolled_out(f"deployment/registrymirror-{program}")
        self._rolled_out("daemonset/registrymirror-dialer")
        return self

    def set_environment(self, **environment: str) -> None:
        """Change the controller's settings; return when all replicas have them."""
        self.environment.update(environment)
        self.apply()
        self.wait()

    def scale(self, program: str, replicas: int) -> None:
        """Scale `webhook` or `controller`; return when the replicas are ready."""
        self.kubectl("scale", "deployment", f"registrymirror-{program}", f"--replicas={replicas}")
        self._rolled_out(f"deployment/registrymirror-{program}")

    def uninstall(self) -> None:
        """Delete the mirrors, then the rest."""
        self.node.cluster.run_kubectl("delete", "rm", "--all", f"--timeout={TIMEOUT}")
        self.node.cluster.run_kubectl("delete", f"--kustomize={self.folder}", f"--timeout={TIMEOUT}")

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the system's namespace; return what it prints."""
        return self.node.cluster.run_kubectl(f"--namespace={NAMESPACE}", *arguments).stdout

    def logs(self, program: str) -> str:
        """Return the logs of all replicas of a program."""
        return self.kubectl("logs", f"--selector=app.kubernetes.io/name=registrymirror-{program}", "--tail=-1")

    def _rolled_out(self, workload: str) -> None:
        self.kubectl("rollout", "status", workload, f"--timeout={TIMEOUT}")

    def _overlay(self) -> Json:
        """Return the overlay: the names of the images and the controller's environment."""
        return {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["base"],
            "images": list(_images()),
            "patches": [{"patch": json.dumps(self._patch())}],
        }

    def _patch(self) -> Json:
        variables = [{"name": name, "value": value} for name, value in sorted(self.environment.items())]
        container = {"name": "controller", "env": variables}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "registrymirror-controller", "namespace": NAMESPACE},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }


def programs() -> list[str]:
    """Return the programs that have a Dockerfile."""
    return sorted(path.suffix.removeprefix(".") for path in REPOSITORY.glob("Dockerfile.*"))


def _images_of_mirrors() -> dict[str, str]:
    """Return the variables with the images of caches and node agents."""
    return {"CACHE_IMAGE": dockerfiles.image_name("cache"), "HOSTESS_IMAGE": dockerfiles.image_name("hostess")}


def _images() -> Iterator[Json]:
    """Yield the image names of deploy/ with those of the images built here."""
    name, _, tag = dockerfiles.image_name("hostess").rpartition(":")
    yield {"name": "registry.example.com/registry-mirror/hostess", "newName": name, "newTag": tag}  # of the dialer
    known = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["images"]
    for each in known:
        name, _, tag = dockerfiles.image_name(each["name"].rpartition("/")[2]).rpartition(":")
        yield {"name": each["newName"], "newName": name, "newTag": tag}
