"""The scenes of the demo: what the system promises, each by the commands that a person would type."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.localcluster.stage import Stage
from tests.localcluster.system import NAMESPACE

MADE = f"registry-mirror-docker -n {NAMESPACE}"  # what was made for the mirror of the first scenes
NOTHING = "No resources found"
NO_NODE = "No node in this demo: pods stay Pending, Ready stays False, and neither node agent nor pulls are shown."

CONTINUED = " \\\n    "  # a command of several lines, as a shell takes it
# What the cache is told to ask, out of its configuration.
ASKED = (
    f"kubectl get secret {MADE}{CONTINUED}"
    "-o go-template='{{index .data \"config.yml\" | base64decode}}' | grep remoteurl"
)
REFUSED = (
    'The RegistryMirror "docker" is invalid: spec.upstreamUrl: Required value: the registry to mirror, as a string'
    ' host[:port]; for example "upstreamUrl: quay.io"'
)
EMPTY = """\
kubectl apply -f - <<EOF
apiVersion: k8s.osp.tech/v1
kind: RegistryMirror
metadata:
  name: docker
spec: {}
EOF"""
MISTAKEN = """\
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
class Scene:
    """A part of the demo: what is going to be seen, and what is done for it."""

    title: str
    play: Callable[[Stage], None]


def _empty(stage: Stage) -> None:
    stage.expect("the field, what belongs there, and an example", stage.run(EMPTY).strip(), REFUSED)
    stage.expect("nothing was stored", stage.run("kubectl get rm").strip(), NOTHING)


def _mistaken(stage: Stage) -> None:
    said = stage.run(MISTAKEN)
    fields = ["upstreamUrl", "masqueradeUrl", "credentialsSecret", "replicas", "ttl"]
    stage.expect("one line for each of the five", re.findall(r"^\* spec\.(\w+): ", said, re.MULTILINE), fields)


def _good(stage: Stage) -> None:
    said = stage.run("kubectl apply -f deploy/examples/docker.yaml")
    stage.expect("accepted", said.splitlines()[-1], "registrymirror.k8s.osp.tech/docker created")
    spec = stage.run("kubectl get rm docker -o jsonpath-as-json='{.spec}'")
    stage.expect("replicas, ttl and the claim were filled in", json.loads(spec), [DEFAULTS])
    said = stage.run("kubectl apply -f deploy/examples/docker.yaml")
    stage.expect("the defaults make no difference", said.strip(), "registrymirror.k8s.osp.tech/docker unchanged")


def made(stage: Stage) -> None:
    """Show all that was made for the mirror of the scenes before."""
    stage.until("the StatefulSet has made its pods", "get rm docker -o jsonpath={.status.replicas}", "2")
    everything = f"get ds,statefulset,svc,registrymirror -l mirror=docker -n {NAMESPACE}"
    stage.run(f"kubectl {everything}")
    stage.until("the whole mirror is there", f"{everything} -o name", OBJECTS)
    stage.run(f"kubectl get pods -l mirror=docker -n {NAMESPACE}")


def _made_without_node(stage: Stage) -> None:
    made(stage)
    stage.paper.note(NO_NODE)


def _turned(stage: Stage) -> None:
    stage.expect("that is Docker Hub", stage.run(ASKED).strip(), '"remoteurl": "https://registry-1.docker.io",')
    stage.run("""kubectl patch rm docker --type merge -p '{"spec": {"upstreamUrl": "quay.io"}}'""")
    stage.until("the status names the new upstream", "get rm docker -o jsonpath={.status.upstream}", "https://quay.io")
    stage.expect("the cache asks it", stage.run(ASKED).strip(), '"remoteurl": "https://quay.io",')
    stage.run("kubectl get rm docker")


def _service_mended(stage: Stage) -> None:
    port = f"get svc {MADE} -o jsonpath={{.spec.ports[*].port}}"
    stage.run(f"kubectl delete svc {MADE}")
    stage.until("the deleted Service is back", port, "443")
    patch = '[{"op": "replace", "path": "/spec/ports/0/port", "value": 8443}]'
    stage.run(f"kubectl patch svc {MADE} --type json{CONTINUED}-p '{patch}'")
    stage.until("the port is 443 again", port, "443")
    _told(stage, "docker", "Repaired Service registry-mirror-docker: spec.ports.")


def _stateful_set_mended(stage: Stage) -> None:
    stage.run(f"kubectl scale statefulset {MADE} --replicas 5")
    stage.until("there are 2 replicas again", f"get statefulset {MADE} -o jsonpath={{.spec.replicas}}", "2")
    patch = '{"spec": {"template": {"spec": {"containers": [{"name": "added", "image": "busybox"}]}}}}'
    stage.run(f"kubectl patch statefulset {MADE}{CONTINUED}-p '{patch}'")
    containers = f"get statefulset {MADE} -o jsonpath={{.spec.template.spec.containers[*].name}}"
    stage.until("the added container is gone", containers, "registry")
    _told(stage, "docker", "Repaired StatefulSet registry-mirror-docker: spec.template.spec.containers.")


def _mended(stage: Stage) -> None:
    _service_mended(stage)
    _stateful_set_mended(stage)
    stage.run("kubectl events --for rm/docker")


def credentials(stage: Stage) -> None:
    """Let a mirror ask for a Secret that is made afterwards."""
    condition = "get rm internal -o jsonpath='{.status.conditions[?(@.type==\"CredentialsAvailable\")].reason}'"
    stage.run("kubectl apply -f deploy/examples/credentials.yaml")
    stage.until("its condition CredentialsAvailable is False: SecretMissing", condition, "SecretMissing")
    stage.run(
        f"kubectl create secret generic internal-mirror -n {NAMESPACE}{CONTINUED}"
        "--from-literal=username=robot --from-literal=password='#never to be seen'"
    )
    stage.run("kubectl wait --for=condition=CredentialsAvailable rm/internal --timeout=20s")
    stage.until("the Secret was found", condition, "Found")
    _told(stage, "internal", f"Secret {NAMESPACE}/internal-mirror has username and password.")
    stage.run("kubectl describe rm internal | sed -n '/^Events/,$p'")


def gone(stage: Stage) -> None:
    """Delete the mirrors, and wait until nothing is left of them in the cluster."""
    left = f"get ds,statefulset,svc,secret,pdb,pod,pvc,rm -l app=docker-registry -n {NAMESPACE}"
    stage.run(f"kubectl {left}{CONTINUED}-o name")
    stage.run("kubectl delete rm docker internal")
    stage.until("Kubernetes has collected all that was owned by the mirrors", left, NOTHING)
    stage.run(f"kubectl {left}")


def _told(stage: Stage, mirror: str, message: str) -> None:
    """Events are posted beside the work: wait for the one that is to be shown."""
    one = f"jsonpath='{{.items[?(@.message==\"{message}\")].message}}'"
    stage.until("an Event tells it", f"get events --field-selector involvedObject.name={mirror} -o {one}", message)


ALL_MADE = "Controller and Kubernetes have made DaemonSet, StatefulSet, Services and pods of it"
ALL_AWAITED = "Credentials that do not exist yet are told as a condition, and picked up when they appear"
ALL_GONE = "Mirrors are deleted, and everything that was made for them goes with them"

ACCEPTED = (
    Scene("A mirror that says nothing is refused, in one message: which field, and what it looks like", _empty),
    Scene("Five mistakes at once: five lines, each with field, value, reason and a way out", _mistaken),
    Scene("A good mirror is accepted, and completed with defaults; applied again it is unchanged", _good),
)
KEPT = (
    Scene("A changed upstream is followed: what the cache is told to ask, and the status", _turned),
    Scene("A deleted Service, a changed port, a scaled and an edited StatefulSet are put right", _mended),
)
# Those without a node; what a node adds is in tests/localcluster/node/scenes.py.
SCENES = (
    *ACCEPTED,
    Scene(ALL_MADE, _made_without_node),
    *KEPT,
    Scene(ALL_AWAITED, credentials),
    Scene(ALL_GONE, gone),
)
