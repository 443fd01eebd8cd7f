"""The system in a node, as its README installs it: images from the Dockerfiles, `kubectl apply -k` of an overlay.

system = Installed(node, REGISTRY_IMAGE=images.REGISTRY_IMAGE).install()
system.set_environment(CA_CERTIFICATE_BUNDLE="bundle")   # waits until the controller has it
system.scale("webhook", 3); system.uninstall()
"""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from common.types import Json
from tests.localcluster.node import dockerfiles, images
from tests.localcluster.node.node import Node

REPOSITORY = Path(__file__).parents[3]
DEPLOY = REPOSITORY / "deploy"
NAMESPACE = "registry-mirror"
PATIENCE = "120s"
# What the controller is told so that no image has to come from the world.
ENVIRONMENT = {"REGISTRY_IMAGE": images.REGISTRY_IMAGE}


class Installed:
    """The system of deploy/ in the node's cluster; `environment` is what the controller gets beside that.

    Without hostess' Dockerfile the DaemonSets have the image that the settings name by themselves, which is not there.
    """

    def __init__(self, node: Node, **environment: str) -> None:
        self.node = node
        self.folder = node.folder / "installed"
        self.environment = {**ENVIRONMENT, **environment}

    def install(self) -> "Installed":
        """Build and import the images, apply, wait until all replicas of both programs are ready; returns itself."""
        for program in programs():
            self.node.import_image(dockerfiles.build(program))
        if "hostess" in programs():
            registry, _, rest = dockerfiles.image_name("hostess").partition("/")
            image, _, tag = rest.rpartition(":")
            ours = {"REGISTRY": registry, "IMAGE": image, "TAG": tag}
            self.environment = {**{f"HOSTESS_DOCKER_{name}": value for name, value in ours.items()}, **self.environment}
        self.apply()
        self.node.cluster.restart_controllers()  # or nothing that a mirror owns goes with it for half a minute
        return self.wait()

    def apply(self) -> None:
        """Write the overlay that a person would write, and apply it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        base = self.folder / "base"
        if not base.exists():
            base.symlink_to(DEPLOY)
        self.folder.joinpath("kustomization.yaml").write_text(yaml.safe_dump(self._overlay()))
        self.node.cluster.run_kubectl("apply", f"--kustomize={self.folder}")

    def wait(self) -> "Installed":
        """Wait until both Deployments have all their replicas, of the latest template; returns itself."""
        for program in ("webhook", "controller"):
            self._rolled_out(program)
        return self

    def set_environment(self, **environment: str) -> None:
        """Change the controller's settings; return when all its replicas have them."""
        self.environment.update(environment)
        self.apply()
        self.wait()

    def scale(self, program: str, replicas: int) -> None:
        """Let `webhook` or `controller` have so many replicas; return when they are ready."""
        self.kubectl("scale", "deployment", f"registrymirror-{program}", f"--replicas={replicas}")
        self._rolled_out(program)

    def uninstall(self) -> None:
        """Remove it as README says: mirrors first, then the rest."""
        self.node.cluster.run_kubectl("delete", "rm", "--all", f"--timeout={PATIENCE}")
        self.node.cluster.run_kubectl("delete", f"--kustomize={self.folder}", f"--timeout={PATIENCE}")

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the system's namespace; return what it prints."""
        return self.node.cluster.run_kubectl(f"--namespace={NAMESPACE}", *arguments).stdout

    def logs(self, program: str) -> str:
        """Return what all replicas of a program have said."""
        return self.kubectl("logs", f"--selector=app.kubernetes.io/name=registrymirror-{program}", "--tail=-1")

    def _rolled_out(self, program: str) -> None:
        self.kubectl("rollout", "status", f"deployment/registrymirror-{program}", f"--timeout={PATIENCE}")

    def _overlay(self) -> Json:
        """Describe what README's second step changes by hand: the images' names, and the controller's environment."""
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


def _images() -> Iterator[Json]:
    """Replace the names that deploy/kustomization.yaml gives the images by those of the images built here."""
    known = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["images"]
    for each in known:
        name, _, tag = dockerfiles.image_name(each["name"].rpartition("/")[2]).rpartition(":")
        yield {"name": each["newName"], "newName": name, "newTag": tag}
