"""The steps of the demo, as the commands that an administrator types."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.localcluster.demo_shell import DemoShell
from tests.localcluster.system import NAMESPACE

OBJECT_NAME = f"registry-mirror-docker -n {NAMESPACE}"  # of the mirror in the first steps
NO_RESOURCES = "No resources found"
NO_NODE = "Without a node, pods stay Pending and Ready stays False. Node agent and pulls are not shown."

CONTINUED = " \\\n    "  # continues a command on the next line
# The upstream in the configuration of the caches.
CACHE_UPSTREAM = (
    f"kubectl get secret {OBJECT_NAME}{CONTINUED}"
    "-o go-template='{{index .data \"config.json\" | base64decode}}' | grep '\"url\"'"
)
REFUSED = (
    'The RegistryMirror "docker" is invalid: spec.upstreamUrl: Required value: the registry to mirror, as a string'
    ' host[:port]; for example "upstreamUrl: quay.io"'
)
EMPTY_SPEC = """\
kubectl apply -f - <<EOF
apiVersion: k8s.osp.tech/v1
kind: RegistryMirror
metadata:
  name: docker
spec: {}
EOF"""
FIVE_MISTAKES = """\
kubectl apply -f - <<EOF
apiVersion: k8s.osp.tech/v1
kind: RegistryMirror
metadata:
  name: docker
spec:
  upstreamUrl: https://quay.io/v2
  masqueradeUrl: https://local.quay.io
  credentialsSecret: Quay_Robot
  replicas: 0
  ttl: 7d
EOF"""
DEFAULTS = {
    "upstreamUrl": "hub.docker.io",
    "replicas": 2,
    "ttl": "168h",
    "volumeClaimTemplate": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}},
    },
}
OBJECTS = """\
daemonset.apps/registry-mirror-docker
statefulset.apps/registry-mirror-docker
service/registry-mirror-docker
service/registry-mirror-docker-headless
registrymirror.k8s.osp.tech/docker"""


@dataclass(frozen=True)
class Step:
    """A part of the demo."""

    title: str
    run: Callable[[DemoShell], None]


def _empty_spec(shell: DemoShell) -> None:
    shell.expect("The message has the field, its meaning and an example", shell.run(EMPTY_SPEC).strip(), REFUSED)
    shell.expect("No mirror is stored", shell.run("kubectl get rm").strip(), NO_RESOURCES)


def _five_mistakes(shell: DemoShell) -> None:
    printed = shell.run(FIVE_MISTAKES)
    fields = ["upstreamUrl", "masqueradeUrl", "credentialsSecret", "replicas", "ttl"]
    shell.expect("One line for each mistake", re.findall(r"^\* spec\.(\w+): ", printed, re.MULTILINE), fields)


def _valid_mirror(shell: DemoShell) -> None:
    printed = shell.run("kubectl apply -f deploy/examples/docker.yaml")
    shell.expect("The mirror is accepted", printed.splitlines()[-1], "registrymirror.k8s.osp.tech/docker created")
    spec = shell.run("kubectl get rm docker -o jsonpath-as-json='{.spec}'")
    shell.expect("Defaults are set for replicas, ttl and the claim", json.loads(spec), [DEFAULTS])
    printed = shell.run("kubectl apply -f deploy/examples/docker.yaml")
    shell.expect("The defaults make no difference", printed.strip(), "registrymirror.k8s.osp.tech/docker unchanged")


def show_objects(shell: DemoShell) -> None:
    """Show all objects of the mirror."""
    shell.until("The StatefulSet created its pods", "get rm docker -o jsonpath={.status.replicas}", "2")
    everything = f"get ds,statefulset,svc,registrymirror -l mirror=docker -n {NAMESPACE}"
    shell.run(f"kubectl {everything}")
    shell.until("All objects of the mirror exist", f"{everything} -o name", OBJECTS)
    shell.run(f"kubectl get pods -l mirror=docker -n {NAMESPACE}")


def _objects_without_node(shell: DemoShell) -> None:
    show_objects(shell)
    shell.output.note(NO_NODE)


def _changed_upstream(shell: DemoShell) -> None:
    docker_hub = '"url": "https://registry-1.docker.io",'
    shell.expect("The caches' configuration has Docker Hub", shell.run(CACHE_UPSTREAM).strip(), docker_hub)
    shell.run("""kubectl patch rm docker --type merge -p '{"spec": {"upstreamUrl": "quay.io"}}'""")
    shell.until("The status has the new upstream", "get rm docker -o jsonpath={.status.upstream}", "https://quay.io")
    quay = '"url": "https://quay.io",'
    shell.expect("The caches' configuration has the new upstream", shell.run(CACHE_UPSTREAM).strip(), quay)
    shell.run("kubectl get rm docker")


def _repair_service(shell: DemoShell) -> None:
    port = f"get svc {OBJECT_NAME} -o jsonpath={{.spec.ports[*].port}}"
    shell.run(f"kubectl delete svc {OBJECT_NAME}")
    shell.until("The controller created the Service again", port, "443")
    patch = '[{"op": "replace", "path": "/spec/ports/0/port", "value": 8443}]'
    shell.run(f"kubectl patch svc {OBJECT_NAME} --type json{CONTINUED}-p '{patch}'")
    shell.until("The port is 443 again", port, "443")
    _message(shell, "docker", "Repaired Service registry-mirror-docker: spec.ports.")


def _repair_stateful_set(shell: DemoShell) -> None:
    shell.run(f"kubectl scale statefulset {OBJECT_NAME} --replicas 5")
    shell.until("There are 2 replicas again", f"get statefulset {OBJECT_NAME} -o jsonpath={{.spec.replicas}}", "2")
    patch = '{"spec": {"template": {"spec": {"containers": [{"name": "added", "image": "busybox"}]}}}}'
    shell.run(f"kubectl patch statefulset {OBJECT_NAME}{CONTINUED}-p '{patch}'")
    containers = f"get statefulset {OBJECT_NAME} -o jsonpath={{.spec.template.spec.containers[*].name}}"
    shell.until("The added container is removed", containers, "cache")
    _message(shell, "docker", "Repaired StatefulSet registry-mirror-docker: spec.template.spec.containers.")


def _repairs(shell: DemoShell) -> None:
    _repair_service(shell)
    _repair_stateful_set(shell)
    shell.run("kubectl events --for rm/docker")


def credentials(shell: DemoShell) -> None:
    """Apply a mirror whose Secret does not exist, then create the Secret."""
    condition = "get rm internal -o jsonpath='{.status.conditions[?(@.type==\"CredentialsAvailable\")].reason}'"
    shell.run("kubectl apply -f deploy/examples/credentials.yaml")
    shell.until("The condition CredentialsAvailable is False with reason SecretMissing", condition, "SecretMissing")
    shell.run(
        f"kubectl create secret generic internal-mirror -n {NAMESPACE}{CONTINUED}"
        "--from-literal=username=robot --from-literal=password='#never to be seen'"
    )
    shell.run("kubectl wait --for=condition=CredentialsAvailable rm/internal --timeout=20s")
    shell.until("The condition has reason Found", condition, "Found")
    _message(shell, "internal", f"Secret {NAMESPACE}/internal-mirror has username and password.")
    shell.run("kubectl describe rm internal | sed -n '/^Events/,$p'")


def delete_mirrors(shell: DemoShell) -> None:
    """Delete the mirrors and wait until the cluster has none of their objects."""
    left = f"get ds,statefulset,svc,secret,pdb,pod,pvc,rm -l app=docker-registry -n {NAMESPACE}"
    shell.run(f"kubectl {left}{CONTINUED}-o name")
    shell.run("kubectl delete rm docker internal")
    shell.until("Kubernetes deleted all objects of the mirrors", left, NO_RESOURCES)
    shell.run(f"kubectl {left}")


def _message(shell: DemoShell, mirror: str, message: str) -> None:
    """Wait for an Event: the controller posts it in the background."""
    one = f"jsonpath='{{.items[?(@.message==\"{message}\")].message}}'"
    shell.until("An Event reports it", f"get events --field-selector involvedObject.name={mirror} -o {one}", message)


OBJECTS_TITLE = "The controller creates DaemonSet, StatefulSet and Services; Kubernetes creates pods"
CREDENTIALS_TITLE = "A condition reports missing credentials; the controller uses them once they exist"
DELETION_TITLE = "Deleted mirrors leave no object behind"

ADMISSION_STEPS = (
    Step("A mirror without upstreamUrl is refused with the field and an example", _empty_spec),
    Step("Five mistakes give five lines, each with field, value, reason and what to do", _five_mistakes),
    Step("A valid mirror is accepted with defaults; applied again it is unchanged", _valid_mirror),
)
REPAIR_STEPS = (
    Step("A changed upstream changes the cache and the status", _changed_upstream),
    Step("The controller repairs a deleted Service, a changed port and a changed StatefulSet", _repairs),
)
# Without a node; those with one are in node/demo_steps.py.
STEPS = (
    *ADMISSION_STEPS,
    Step(OBJECTS_TITLE, _objects_without_node),
    *REPAIR_STEPS,
    Step(CREDENTIALS_TITLE, credentials),
    Step(DELETION_TITLE, delete_mirrors),
)
