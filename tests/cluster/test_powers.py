"""Check the limits of users who write RegistryMirrors, on a real API server.

The specs are as hostile as the API server accepts, first with the webhook and then without it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from common import names
from controller.objects import resources
from tests.cluster.conftest import Running
from tests.localcluster.cluster import Cluster
from tests.support.kube import NAMESPACE, Kube, account_keys, text, until
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json

METADATA = "spec.volumeClaimTemplate.metadata"
CACHE, HOSTESS = "registry.example.com/cache:3", "registry.example.com/hostess:1"
MADE = (*resources.CHILDREN, resources.CONFIG_MAP, resources.POD)
# Files of the node that the agent mounts. No field of a mirror changes them.
NODE_FILES = {
    *("/etc/hosts", "/etc/mirror-hostess", "/var/lock/mirror-hostess", "/etc/docker", "/etc/containerd"),
    *("/etc/containers", "/etc/containers/registries.conf.d"),
}
SHARP = ("$(id)", "a\n10.0.0.1 evil.example.com", '"]\n[host."http://evil"]', "../../etc", "a;b", "${IFS}", "a b", "#")
NAMES = ("localhost", "x.localhost", "kubernetes.default.svc", "x.svc", "x.cluster.local", "metadata.google.internal")
ODD_NAMES = ("node-1", "1.2.3.4", "0x7f.1", "1.0x7f", "localhost.", "LOCALHOST", "*.example.com", "x.minikube.internal")
FIELDS = ("spec.upstreamUrl", "spec.masqueradeUrl", "spec.credentialsSecret", "spec.ttl", f"{CLAIM}.storageClassName")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a separate system with unusual images, because the test removes its webhook."""
    with Cluster(tmp_path_factory.mktemp("powers")).start() as cluster:
        made = Running(cluster, CACHE_IMAGE=CACHE, HOSTESS_IMAGE=HOSTESS)
        made.system.install().start()
        made.kube.secret("login", username="robot", password="canary")
        yield made
        made.stop()


@pytest.fixture
def kube(running: Running) -> Kube:
    """Return the administrator's client of that system."""
    return running.kube


def sent(kube: Kube, builder: MirrorBuilder) -> str:
    """Return the API server's refusal of a mirror; an empty text if it is stored."""
    response = kube.http.post(resources.MIRROR.path(None), json=builder.raw())
    return "" if response.is_success else response.text


def hostile() -> Iterator[MirrorBuilder]:
    """Yield mirrors with a special text in each field, and with unknown fields."""
    for number, field in enumerate(FIELDS):
        for other, value in enumerate(SHARP):
            yield a_mirror().named(f"sharp-{number}-{other}").having(field, value)
    pod = {"image": "evil.example.com/x", "command": ["sh"], "namespace": "kube-system", "hostPath": {"path": "/"}}
    yield a_mirror().named("pod").having("spec.template", {"spec": {"containers": [pod]}})
    yield a_mirror().named("fields").having("spec", {"upstreamUrl": "fields.example.com", **pod})


def odd() -> Iterator[MirrorBuilder]:
    """Yield valid but unusual mirrors."""
    claims = {"app": "another", "mirror": "another", "component": "hostess-certificate"}
    yield a_mirror().named("odd-labels").of("labels.example.com").with_claims_labelled(claims)
    annotations = {"k8s.osp.tech/cleaning": "x", "example.com/text": "".join(SHARP)}
    yield a_mirror().named("odd-annotations").of("annotations.example.com").with_claims_annotated(annotations)
    yield a_mirror().named("odd-class").of("class.example.com").on_class("theirs").storing("900Ti").replicated(10)
    yield a_mirror().named("odd-upstream").of("http://[::1]:65535").logging_in_with("login").keeping("0s")
    yield a_mirror().named("odd-name").of("name.example.com").known_as("xn--bcher-kva.example.com").keeping("1ns")
    source = {"kind": "PersistentVolumeClaim", "name": "other"}
    yield a_mirror().named("odd-source").of("source.example.com").having(f"{CLAIM}.dataSource", source)


def made_for(kube: Kube, mirror: str) -> list[Json]:
    """Return all objects in all namespaces that this mirror owns."""
    every = [each for kind in MADE for each in _everywhere(kube, kind)]
    return [each for each in every if _is_of(each, mirror)]


def _everywhere(kube: Kube, kind: resources.Kind) -> list[Json]:
    everywhere = resources.Kind(kind.api, kind.plural, kind.name, namespaced=False)
    return [{**each, "kind": kind.name} for each in kube.every(everywhere)]


def _is_of(each: Json, mirror: str) -> bool:
    owners = [(owner["kind"], owner["name"]) for owner in each["metadata"].get("ownerReferences", ())]
    return (resources.MIRROR.name, mirror) in owners


def template(kube: Kube, kind: resources.Kind, mirror: str) -> Json:
    """Return the pod template of an object of a mirror."""
    spec: Json = kube.until_there(kind, f"registry-mirror-{mirror}")["spec"]["template"]["spec"]
    return spec


def shape(pod: Json, mirror: str) -> Json:
    """Return a pod without the mirror's name and the agent's variables."""
    (container,) = pod["containers"]
    env = [{"name": each["name"]} if each["name"] == "SHADOW_FQDN" else each for each in container.get("env", ())]
    whole = json.dumps({**pod, "containers": [{**container, "env": env}]})
    named = whole.replace(f'"registry-mirror-{mirror}"', '"registry-mirror-NAME"').replace(f'"{mirror}"', '"NAME"')
    return dict(json.loads(named))


def test_user_sets_no_image_command_or_namespace(kube: Kube) -> None:
    kube.mirror(a_mirror().named("plain").of("plain.example.com"))
    plain = {
        kind: shape(template(kube, kind, "plain"), "plain") for kind in (resources.STATEFUL_SET, resources.DAEMON_SET)
    }
    for builder in hostile():
        response = kube.http.post(resources.MIRROR.path(None), json=builder.raw())
        if response.is_success:  # the API server drops unknown fields
            assert set(response.json()["spec"]) <= {"upstreamUrl", "replicas", "ttl", "volumeClaimTemplate"}
            kube.delete(resources.MIRROR, builder.raw()["metadata"]["name"])
    stored = [builder.raw()["metadata"]["name"] for builder in odd() if sent(kube, builder) == ""]
    assert len(stored) == len(list(odd()))
    for name in stored:
        for kind, meant in plain.items():
            assert shape(template(kube, kind, name), name) == meant
        assert {each["metadata"]["namespace"] for each in made_for(kube, name)} == {NAMESPACE}
        assert len({each["kind"] for each in made_for(kube, name)}) == len(resources.CHILDREN)
    caches, agents = plain[resources.STATEFUL_SET], plain[resources.DAEMON_SET]
    assert [pod["containers"][0]["image"] for pod in (caches, agents)] == [CACHE, HOSTESS]
    assert caches["containers"][0]["args"] == ["/etc/registry-mirror/config.json"]
    assert not any("command" in pod["containers"][0] for pod in (caches, agents))


def test_pods_mount_only_agent_files(kube: Kube) -> None:
    template(kube, resources.DAEMON_SET, "odd-name")
    templates = [each["spec"]["template"]["spec"] for each in _everywhere(kube, resources.DAEMON_SET)]
    paths = {volume["hostPath"]["path"] for pod in templates for volume in pod["volumes"] if "hostPath" in volume}
    assert paths == NODE_FILES
    for kind in (resources.STATEFUL_SET, resources.DAEMON_SET):
        for pod in (each["spec"]["template"]["spec"] for each in _everywhere(kube, kind)):
            (container,) = pod["containers"]
            assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for each in _everywhere(kube, resources.STATEFUL_SET):
        assert not any("hostPath" in volume for volume in each["spec"]["template"]["spec"]["volumes"])


@pytest.mark.parametrize("host", [*NAMES, *ODD_NAMES])
def test_reserved_host_name_is_refused(kube: Kube, host: str) -> None:
    assert "spec.masqueradeUrl" in sent(kube, a_mirror().named("reserved").of("free.example.com").known_as(host))


@pytest.mark.parametrize("secret", ["kube-system/login", "../login", "login@other", "LOGIN"])
def test_secret_of_other_namespace_is_refused(kube: Kube, secret: str) -> None:
    assert "spec.credentialsSecret" in sent(kube, a_mirror().named("elsewhere").logging_in_with(secret))


def test_secret_without_username_is_incomplete(kube: Kube) -> None:
    kube.mirror(a_mirror().named("keys").of("keys.example.com").logging_in_with("registrymirror-webhook-tls"))
    kube.until_condition("keys", "CredentialsAvailable", "False", "SecretIncomplete")


def test_user_sets_no_claim_name(kube: Kube) -> None:
    template(kube, resources.STATEFUL_SET, "odd-labels")
    (claim,) = kube.get(resources.STATEFUL_SET, "registry-mirror-odd-labels")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "image-store"
    assert {"app": "docker-registry", "mirror": "odd-labels"}.items() <= claim["metadata"]["labels"].items()
    for part in ("metadata.name", "spec.volumeName"):
        taken = a_mirror().named("taken").having(f"spec.volumeClaimTemplate.{part}", "other")
        assert f"spec.volumeClaimTemplate.{part}" in sent(kube, taken)


@pytest.mark.parametrize("number", [0, 11, 1000, -1])
def test_replicas_are_limited(kube: Kube, number: int) -> None:
    assert "spec.replicas" in sent(kube, a_mirror().named("many").replicated(number))


def test_foreign_objects_are_not_changed(kube: Kube) -> None:
    spec = {"ports": [{"name": "x", "port": 1}]}
    holder = kube.create(resources.CONFIG_MAP, {"metadata": {"name": "holder"}})["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "holder", "uid": holder, "controller": True}
    # The group does not exist, so the garbage collector cannot check the owner.
    namesake = {**owner, "apiVersion": "mirror.example.com/v1", "kind": names.KIND, "name": "taken-too"}
    for name, holding in (("taken", owner), ("taken-too", namesake)):
        metadata = {"name": f"registry-mirror-{name}", "ownerReferences": [holding]}
        theirs = kube.create(resources.SERVICE, {"metadata": metadata, "spec": spec})
        kube.mirror(a_mirror().named(name).of(f"{name}.example.com"))
        kube.until_condition(name, "CacheAvailable", "False", "ObjectNotOwned")
        left = kube.get(resources.SERVICE, f"registry-mirror-{name}")
        assert (left["metadata"]["uid"], left["spec"]) == (theirs["metadata"]["uid"], theirs["spec"])


def test_controller_refuses_stored_invalid_mirrors(running: Running) -> None:
    kube = running.kube
    for kind in (resources.MUTATING, resources.VALIDATING):
        kube.kubectl("delete", kind.plural, "--all")
    reserved = {f"reserved-{number}": host for number, host in enumerate((*NAMES, *ODD_NAMES))}
    stored = [
        name
        for name, host in reserved.items()
        if not sent(kube, a_mirror().named(name).of(f"{name}.example.com").known_as(host))
    ]
    assert len(stored) >= len(NAMES), "the schema knows no reserved names"
    stored += [builder.raw()["metadata"]["name"] for builder in hostile() if not sent(kube, builder)]
    assert any(name.startswith("sharp") for name in stored)
    for name in stored:
        until(lambda name=name: kube.conditions(name), why=f"{name} has conditions")  # type: ignore[misc]
        status, reason = kube.condition(name, "Accepted")
        made = made_for(kube, name)
        assert (status, reason) == ("False", "InvalidSpec") or name in ("fields", "pod")
        assert not made or name in ("fields", "pod"), made
    for name in ("fields", "pod"):
        assert shape(template(kube, resources.STATEFUL_SET, name), name) == shape(
            template(kube, resources.STATEFUL_SET, "plain"), "plain"
        )


def _credentials(kube: Kube, mirror: str) -> list[str]:
    """Return username and password of a mirror's cache; empty if it pulls anonymously."""
    secret = kube.get(resources.SECRET, f"registry-mirror-{mirror}")
    return [text(secret, key) for key in account_keys(secret)]


def test_new_restrictions_apply_to_existing_mirrors(running: Running) -> None:
    """Set MASQUERADE_DOMAINS and SECRET_OPT_IN for a running system."""
    kube, system = running.kube, running.system
    old = a_mirror().named("old").of("old.example.com").known_as("old.mirrors.example.com").logging_in_with("login")
    kube.mirror(old)
    kube.until_condition("old", "CredentialsAvailable", "True", "Found")
    assert _credentials(kube, "old") == ["robot", "canary"]
    system.processes.stop(["controller", "webhook"])
    system.install()
    narrowed = {"MASQUERADE_DOMAINS": "mirrors.example.com", "SECRET_OPT_IN": "true"}
    system.start_webhook(MASQUERADE_DOMAINS=narrowed["MASQUERADE_DOMAINS"])
    system.start_controller(**narrowed)
    kube.until_condition("odd-name", "Accepted", "False", "InvalidSpec")
    assert kube.find(resources.DAEMON_SET, "registry-mirror-odd-name"), "what exists stays as it is"
    until(
        lambda: "is outside the domains" in sent(kube, a_mirror().named("out").known_as("a.example.com")),
        why="it is refused",
    )
    inside = a_mirror().named("in").of("in.example.com").known_as("in.mirrors.example.com").logging_in_with("login")
    until(lambda: not sent(kube, inside), why="a name inside is taken")
    kube.until_condition("in", "CredentialsAvailable", "False", "SecretNotOptedIn")
    kube.until_condition("old", "CredentialsAvailable", "False", "SecretNotOptedIn")
    assert _credentials(kube, "old") == []
    kube.patch(resources.MIRROR, "odd-name", {"spec": {"masqueradeUrl": "odd.mirrors.example.com"}})
    kube.until_condition("odd-name", "Accepted", "True", "Valid")
