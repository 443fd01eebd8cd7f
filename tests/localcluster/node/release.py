"""Install the system in a node by the chart, with the command of README."""

from collections.abc import Callable

from tests.localcluster.node import dockerfiles, programs
from tests.localcluster.node.installed import NAMESPACE, Installed

COMMAND = (
    f"helm install registry-mirror deploy/chart --namespace {NAMESPACE} --create-namespace \\\n"
    f"    --set global.imageRegistry={dockerfiles.REGISTRY} --wait"
)


def install(system: Installed, run: Callable[[str], object]) -> None:
    """Import the images and run the command by `run`; return when all pods are ready.

    `run` finds helm in PATH if it uses the environment for commands of a user.
    """
    system.import_images()
    (system.node.cluster.kubectl.parent / programs.HELM.name).symlink_to(programs.build(programs.HELM))
    run(COMMAND)
    system.settle()
