"""Build the desired objects of a mirror, and compare them with golden/.

After an intended change: `GOLDEN=write .venv/bin/python -m pytest tests/unit/controller/test_desired.py`, then review
the difference. The files show Secrets decoded.
"""

from __future__ import annotations

import base64
import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cache import config
from common import duration, names
from common.agent_protocol import AGENT_MOUNTS, REGISTRIES_ANNOTATION
from common.cache_protocol import PORT, STATUS_PORT
from common.settings import SettingsError
from controller.desired import desired_objects
from controller.desired.cache_config import cache_config
from controller.model.inputs import Credentials, CredentialsState, Inputs, KeyPair, ServingCertificate
from controller.model.mirror import Mirror, parse_mirror
from controller.objects import merge_patch, resources, well_known
from controller.objects.immutable_fields import immutable_differences, without_immutable
from controller.objects.ownership import Ownership, owner_reference, ownership_of
from controller.objects.resources import DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind
from tests.support import strategies
from tests.support.controller import CA, PAIR, encoded, inputs, merged, parsed, settings, stored
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json

GOLDEN = Path(__file__).parent / "golden"

FULL_MIRROR = (
    a_mirror()
    .named("docker")
    .of("https://hub.docker.io/")
    .known_as("local.docker.io")
    .logging_in_with("docker-login")
    .also_of({"upstreamUrl": "ghcr.io", "credentialsSecret": "ghcr-login"}, "http://plain.example:5000", "quay.io")
    .replicated(3)
    .keeping("336h")
    .storing("50Gi")
    .limited_to("100Gi")
    .on_class("fast")
    .accessed("ReadWriteMany")
    .with_claims_labelled({"team": "platform"})
    .with_claims_annotated({"backup": "no"})
    .placing_caches(
        nodeSelector={"node-role.kubernetes.io/infra": ""},
        tolerations=[
            {"key": "node-role.kubernetes.io/infra", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "dedicated", "value": "registry", "effect": "NoExecute", "tolerationSeconds": 60},
        ],
        affinity={
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "labelSelector": {"matchLabels": {"app": "docker-registry"}},
                            "namespaceSelector": {},
                            "topologyKey": "topology.kubernetes.io/zone",
                        },
                    }
                ]
            }
        },
        priorityClassName="infra",
        resources={
            "requests": {"cpu": "0.5", "memory": "1Gi"},
            "limits": {"memory": "2Gi", "ephemeral-storage": "1Gi"},
        },
        labels={"team": "platform"},
        annotations={"prometheus.io/scrape": "true"},
        trafficDistribution="PreferClose",
    )
    .placing_agents(
        resources={"limits": {"memory": "256Mi"}},
        priorityClassName="agents",
        labels={"team": "nodes"},
        annotations={"example.com/note": ""},
    )
)
FULL_SETTINGS = settings(
    NAMESPACE="mirrors",
    DOCKER_CERTIFICATE_SECRET="wildcard-tls",
    HOSTESS_DOCKER_REGISTRY="registry.example:5000",
    HOSTESS_DOCKER_IMAGE="team/hostess",
    HOSTESS_DOCKER_TAG="2.0",
    HOSTESS_NODE_SELECTOR="type=real,zone in (a,b),!gpu",
    HOSTESS_PRIORITY_CLASS="system-node-critical",
    CONTAINERD_CERTS_DIR="/var/lib/rancher/k3s/agent/etc/containerd/certs.d",
    IMAGE_PULL_SECRETS="pull-one,pull-two",
    CA_CERTIFICATE_BUNDLE="company-cas",
    CACHE_IMAGE="registry.example:5000/team/cache:2.0",
    HTTPS_PROXY="http://proxy.example:3128",
    HTTP_PROXY="http://proxy.example:3128",
    NO_PROXY="10.0.0.0/8,.svc",
)
FULL_INPUTS = inputs(
    credentials=(
        Credentials(CredentialsState.FOUND, encoded(b"bob"), encoded('p"ä$s\\\n'.encode())),
        Credentials(CredentialsState.FOUND, encoded(b"alice"), encoded(b"another")),
        *[Credentials(CredentialsState.NOT_REQUIRED)] * 2,
    ),
    images_holders={"quay.io": "older"},
    tls=ServingCertificate(CA, PAIR, "wildcard-tls"),
)
FULL_DIRECTORIES = [each.upstream.directory for each in parsed(FULL_MIRROR).sources]
CASES = {
    "minimal": desired_objects(parsed(), settings(), inputs()),
    "full": desired_objects(parsed(FULL_MIRROR), FULL_SETTINGS, FULL_INPUTS),
}


class _Plain(yaml.SafeDumper):
    """YAML with blocks for long texts, and without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Disable anchors."""
        del data
        return True


_Plain.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _as_yaml(objects: list[tuple[Kind, Json]]) -> str:
    shown = [{**body, "data": _texts(body)} if kind is SECRET else body for kind, body in objects]
    return yaml.dump_all(shown, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


def _texts(secret: Json) -> dict[str, str | None]:
    return {key: value and base64.b64decode(value).decode() for key, value in secret["data"].items()}


@pytest.mark.parametrize("case", CASES)
def test_objects_equal_golden_files(case: str) -> None:
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(_as_yaml(CASES[case]))
    assert _as_yaml(CASES[case]) == file.read_text()


def test_younger_mirror_gets_no_daemon_set() -> None:
    objects = desired_objects(parsed(), settings(), inputs(holder="older"))
    assert [kind for kind, _ in objects] == [kind for kind, _ in CASES["minimal"] if kind is not DAEMON_SET]


def test_withdrawing_mirror_keeps_agents_and_annotation() -> None:
    order = "k8s.osp.tech/cleaning"
    leaving = desired_objects(parsed(), settings(), inputs(holder="older", withdrawing=True))
    assert [kind for kind, _ in leaving] == [kind for kind, _ in CASES["minimal"]]
    for objects in (leaving, desired_objects(parsed(), settings(), inputs(holder="older"))):
        assert _body(resources.SERVICE, objects)["metadata"]["annotations"][order] == parsed().uid
    assert _body(resources.SERVICE, CASES["minimal"])["metadata"]["annotations"][order] is None


CONTAINERS = ["/etc/containers", "/etc/containers/registries.conf.d"]
RUNTIME_FOLDERS = ("docker", "containerd", "containers", "drop-ins")
OURS = {"HOSTESS_DOCKER_IMAGE": "registry-mirror/hostess"}


def _agent(known: Inputs, url: str = "quay.io", **variables: str) -> tuple[Json, Json]:
    """Return the pod of the node agent and its container."""
    objects = desired_objects(parsed(a_mirror().of(url)), settings(**{**OURS, **variables}), known)
    pod = _body(DAEMON_SET, objects)["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def _environment(container: Json) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("http://Quay.io", "quay.io"),
        ("registry.example.com:5000", "registry.example.com:5000"),
    ],
)
def test_agent_gets_upstream_and_image_host(url: str, host: str) -> None:
    mirror = parsed(a_mirror().of(url))
    assert _registries(mirror, inputs()) == [{"host": host, "url": mirror.upstream.url}]


def test_agent_gets_every_upstream() -> None:
    """Those of an older mirror have no host. The DaemonSet stays as it is, so that no agent restarts."""
    mirror = parsed(a_mirror().also_of("ghcr.io", "docker.io"))
    assert _registries(mirror, inputs(images_holders={"ghcr.io": "older"})) == [
        {"host": "quay.io", "url": "https://quay.io"},
        {"host": "", "url": "https://ghcr.io"},
        {"host": "docker.io", "url": "https://registry-1.docker.io"},
    ]
    one, other = (desired_objects(each, settings(**OURS), inputs()) for each in (parsed(), mirror))
    for kind in (DAEMON_SET, STATEFUL_SET):
        assert _body(kind, one) == _body(kind, other)


def test_original_agent_serves_no_images() -> None:
    """It writes no hosts.toml."""
    assert _registries(parsed(), inputs(), HOSTESS_DOCKER_IMAGE="mirrors/mirror-hostess") == [
        {"host": "", "url": "https://quay.io"}
    ]


def _registries(mirror: Mirror, known: Inputs, **variables: str) -> list[Json]:
    """Return what the agents read from the Service."""
    objects = desired_objects(mirror, settings(**(variables or OURS)), known)
    service = next(body for kind, body in objects if kind is SERVICE)
    found: list[Json] = json.loads(service["metadata"]["annotations"][REGISTRIES_ANNOTATION])
    return found


def test_agent_has_status_port_and_probes() -> None:
    ours = _agent(inputs())[1]
    assert ours["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "status"}
    assert ours["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "status"}
    assert [(each["name"], each["containerPort"]) for each in ours["ports"]] == [("status", 8081)]
    assert _environment(ours)["STATUS_PORT"] == "8081"


@pytest.mark.parametrize("image", ["ocadotechnology/mirror-hostess", "mirrors/mirror-hostess"])
def test_original_agent_gets_its_contract_only(image: str) -> None:
    """The second container installs the CA and reports the state."""
    pod, original = _agent(inputs(), HOSTESS_DOCKER_IMAGE=image)
    assert [original[each] for each in ("command", "ports", "readinessProbe", "livenessProbe")] == [None] * 4
    six = ["SERVICE_NAME", "SERVICE_NAMESPACE", "SHADOW_FQDN", "HOSTS_FILE", "HOSTS_FILE_BACKUP", "LOCK_FILE"]
    assert list(_environment(original)) == six
    assert [each["name"] for each in original["volumeMounts"]] == ["etc-hosts", "etc-hosts-backup", "lock"]
    assert original["resources"]["requests"]["memory"] == "96Mi"
    _, beside = pod["containers"]
    assert (beside["name"], beside["image"]) == ("certificate-installation", settings().cache_image)
    assert _environment(beside)["BESIDE_ORIGINAL"] == "true"
    assert beside["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "status"}
    assert beside["securityContext"]["runAsUser"] == 0
    assert beside["securityContext"]["capabilities"]["drop"] == ["ALL"]


def test_another_upstream_restarts_no_original_agent() -> None:
    """It serves masqueradeUrl, whatever the upstream is."""
    original = settings(HOSTESS_DOCKER_IMAGE="mirror-hostess")
    pods = [
        _body(DAEMON_SET, desired_objects(parsed(a_mirror().of(url).known_as("a.b")), original, inputs()))
        for url in ("quay.io", "registry.example.com:5000")
    ]
    assert pods[0] == pods[1]


@pytest.mark.parametrize(
    ("image", "unavailable", "seconds"), [("team/hostess", "100%", None), ("team/mirror-hostess", 1, 10)]
)
def test_original_agents_are_replaced_one_by_one(image: str, unavailable: object, seconds: int | None) -> None:
    """Each stop of the original takes its hosts entry off the node."""
    objects = desired_objects(parsed(), settings(HOSTESS_DOCKER_IMAGE=image), inputs())
    spec = _body(DAEMON_SET, objects)["spec"]
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": unavailable}
    assert spec["minReadySeconds"] == seconds


@pytest.mark.parametrize(
    ("folder", "mounted"),
    [
        ("/etc/containerd/certs.d", ["/etc/docker", "/etc/containerd", *CONTAINERS]),
        ("/etc/docker/certs.d", ["/etc/docker", *CONTAINERS]),
        ("/var/lib/k3s/containerd/certs.d", ["/etc/docker", "/var/lib/k3s/containerd", *CONTAINERS]),
    ],
)
def test_agent_mounts_runtime_folders(folder: str, mounted: list[str]) -> None:
    pod, container = _agent(inputs(), CONTAINERD_CERTS_DIR=folder)
    places = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    found = {each["name"]: each["hostPath"] for each in pod["volumes"] if each["name"] in RUNTIME_FOLDERS}
    assert found == {name: {"path": places[name], "type": "DirectoryOrCreate"} for name in found}
    assert [places[name] for name in found] == mounted
    assert _environment(container)["CONTAINERD_CERTS_DIR"] == folder
    read_only = [each["mountPath"] for each in container["volumeMounts"] if each.get("readOnly")]
    assert read_only == ["/etc/containers", "/etc/registry-mirror"], "not the policy of signatures"


@pytest.mark.parametrize("image", ["team/hostess", "team/mirror-hostess"])
def test_certs_dir_avoids_each_mount_of_agent(image: str) -> None:
    """The API server refuses two mounts at one path."""
    pod, _ = _agent(inputs(), HOSTESS_DOCKER_IMAGE=image)
    mounts = {each["mountPath"] for container in pod["containers"] for each in container["volumeMounts"]}
    others = mounts - {"/etc/containerd", "/etc/docker"}
    for folder in (path for mount in others for path in (mount, f"{mount}/certs.d", f"{mount}/x/certs.d")):
        with pytest.raises(SettingsError, match="CONTAINERD_CERTS_DIR"):
            settings(CONTAINERD_CERTS_DIR=folder)
    assert set(AGENT_MOUNTS) - others == {"/var/run/secrets/kubernetes.io/serviceaccount"}


def test_objects_have_labels_and_owner() -> None:
    for kind, body in CASES["full"]:
        metadata = body["metadata"]
        assert (body["apiVersion"], body["kind"]) == (kind.api, kind.name)
        assert kind in resources.CHILDREN
        assert metadata["namespace"] == "mirrors"
        assert metadata["name"] in ("registry-mirror-docker", "registry-mirror-docker-headless")
        assert {"app": "docker-registry", "mirror": "docker"}.items() <= metadata["labels"].items()
        assert ownership_of(body, parsed(FULL_MIRROR)) is Ownership.OWNED


def test_selectors_distinguish_caches_and_agents() -> None:
    templates = {kind: body["spec"] for kind, body in CASES["minimal"] if kind in (STATEFUL_SET, DAEMON_SET)}
    components = {
        kind: spec["selector"]["matchLabels"]["component"]
        for kind, spec in templates.items()
        if spec["template"]["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
    }
    assert components == {STATEFUL_SET: "registry", DAEMON_SET: "hostess-certificate"}


@pytest.mark.parametrize(
    ("cache", "agent", "setting", "expected"),
    [
        ({}, {}, "", (None, None)),
        ({}, {}, "mirrors", ("mirrors", "mirrors")),
        ({}, {"priorityClassName": "agents"}, "mirrors", ("agents", "agents")),
        ({"priorityClassName": "caches"}, {}, "mirrors", ("caches", "mirrors")),
    ],
)
def test_caches_rank_like_agents(cache: Json, agent: Json, setting: str, expected: tuple[str | None, ...]) -> None:
    """Otherwise the agents of a mirror take the room of its caches."""
    mirror = parsed(a_mirror().placing_caches(**cache).placing_agents(**agent))
    objects = desired_objects(mirror, settings(HOSTESS_PRIORITY_CLASS=setting), inputs())
    pods = [_body(kind, objects)["spec"]["template"]["spec"] for kind in (STATEFUL_SET, DAEMON_SET)]
    assert tuple(pod["priorityClassName"] for pod in pods) == expected


@pytest.mark.parametrize(
    ("selector", "excluded"),
    [
        ("", ["eks.amazonaws.com/compute-type", "type", "liqo.io/type"]),
        ("type=metal", ["eks.amazonaws.com/compute-type", "liqo.io/type"]),
        ("eks.amazonaws.com/compute-type,!liqo.io/type", ["type"]),
    ],
)
def test_virtual_nodes_are_left_out_unless_named(selector: str, excluded: list[str]) -> None:
    pod, _ = _agent(inputs(), HOSTESS_NODE_SELECTOR=selector)
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["key"] for each in term["matchExpressions"] if each["operator"] == "NotIn"] == excluded
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_service_selects_all_caches() -> None:
    """Caches follow a changed upstream without a restart."""
    for mirror in (parsed(), parsed(a_mirror().of("prod.example.com"))):
        objects = desired_objects(mirror, settings(), inputs())
        selector = _body(resources.SERVICE, objects)["spec"]["selector"]
        assert selector.items() <= _template(objects)["metadata"]["labels"].items()


def test_volumes_match_mounts() -> None:
    for objects in CASES.values():
        for kind, body in objects:
            if kind not in (STATEFUL_SET, DAEMON_SET):
                continue
            spec = body["spec"]
            pod = spec["template"]["spec"]
            given_volumes = {volume["name"] for volume in pod["volumes"]}
            given_volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
            mounts = [[mount["name"] for mount in each["volumeMounts"]] for each in pod["containers"]]
            assert set().union(*mounts) == given_volumes
            for container in pod["containers"]:
                paths = [mount["mountPath"] for mount in container["volumeMounts"]]
                assert len(paths) == len(set(paths))


def test_secret_has_all_mounted_files() -> None:
    objects = {kind: body for kind, body in CASES["minimal"] if kind in (SECRET, STATEFUL_SET, DAEMON_SET)}
    volumes = [
        volume["secret"]
        for kind in (STATEFUL_SET, DAEMON_SET)
        for volume in objects[kind]["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    ]
    assert {volume["secretName"] for volume in volumes} == {objects[SECRET]["metadata"]["name"]}
    read = {item["key"] for volume in volumes for item in volume.get("items", [])}
    assert read == {well_known.CERTIFICATE, well_known.KEY, well_known.CA}
    present = {key for key, value in objects[SECRET]["data"].items() if value}
    assert present == {*read, well_known.CONFIGURATION}


_SETTINGS = st.sampled_from([settings(), FULL_SETTINGS])
_INPUTS = st.builds(
    inputs,
    credentials=st.builds(Credentials, st.just(CredentialsState.FOUND), *[st.binary().map(encoded)] * 2),
    tls=st.builds(
        ServingCertificate, st.text(max_size=9), st.builds(KeyPair, st.text(max_size=9), st.text(max_size=9))
    ),
)


@given(strategies.mirrors(), _SETTINGS, _INPUTS)
def test_desired_objects_is_pure(builder: MirrorBuilder, chosen: Any, known: Inputs) -> None:
    mirror = _parsed(builder)
    before = repr(mirror)
    first, second = desired_objects(mirror, chosen, known), desired_objects(mirror, chosen, known)
    assert first == second
    assert repr(mirror) == before


@given(strategies.mirrors(), _SETTINGS)
def test_objects_share_no_mutable_part(builder: MirrorBuilder, chosen: Any) -> None:
    """Changing one object leaves the others, the mirror and the next reconcile unchanged."""
    mirror = _parsed(builder)
    objects = desired_objects(mirror, chosen, inputs())
    expected = copy.deepcopy(objects)
    for number, (_, body) in enumerate(objects):
        _spoil(body)
        assert objects[number + 1 :] == expected[number + 1 :]
    assert desired_objects(mirror, chosen, inputs()) == expected


@given(strategies.mirrors(), _SETTINGS, _INPUTS)
def test_desired_object_needs_no_patch(builder: MirrorBuilder, chosen: Any, known: Inputs) -> None:
    for kind, body in desired_objects(_parsed(builder), chosen, known):
        assert merge_patch.merge_patch(merged({}, body), without_immutable(kind, body)) == {}
        assert immutable_differences(kind, body, body) == []


@given(strategies.mirrors(), _SETTINGS)
def test_names_and_labels_fit_kubernetes_limits(builder: MirrorBuilder, chosen: Any) -> None:
    objects = desired_objects(_parsed(builder), chosen, inputs())
    named = [(kind, body["metadata"]["name"]) for kind, body in objects]
    assert len(set(named)) == len(named)
    for kind, body in objects:
        assert names.is_dns_label(body["metadata"]["name"])
        assert kind is not STATEFUL_SET or len(body["metadata"]["name"]) <= names.STATEFUL_SET_NAME_MAX
        for labels in _labels_in(body):
            assert all(len(value) <= names.DNS_LABEL_MAX for value in labels.values())


@given(strategies.mirrors(), _SETTINGS)
def test_cache_accepts_its_configuration(builder: MirrorBuilder, chosen: Any) -> None:
    mirror = _parsed(builder)
    found = config.parse(cache_config(mirror, chosen).encode())
    upstreams = [each.upstream for each in mirror.sources]
    assert [(each.host, each.url) for each in found.upstreams] == [(each.image_host, each.url) for each in upstreams]
    assert found.ttl == pytest.approx(duration.parse(mirror.spec.ttl) / 1e9)
    assert (found.listen[1], found.status_listen[1]) == (PORT, STATUS_PORT)
    assert (found.ca_bundle is None) == (chosen.ca_certificate_bundle is None)
    assert (found.peers is None) == (mirror.spec.replicas == 1)


@pytest.mark.parametrize("replicas", [2, 3, 10])
def test_replicas_find_each_other_by_pod_name(replicas: int) -> None:
    """The host name of a pod of a StatefulSet is its name, and the headless Service resolves it."""
    mirror = parsed(a_mirror().replicated(replicas))
    peers = config.parse(cache_config(mirror, FULL_SETTINGS).encode()).peers
    assert peers is not None
    assert peers.members == {
        f"registry-mirror-docker-{number}": (
            f"https://registry-mirror-docker-{number}.registry-mirror-docker-headless.mirrors.svc:5000"
        )
        for number in range(replicas)
    }
    assert (peers.given_name, peers.server_name) == (None, mirror.masquerade)


@pytest.mark.parametrize("case", CASES)
def test_configuration_names_mounted_files(case: str) -> None:
    objects = CASES[case]
    data = {key: value for key, value in _texts(_body(SECRET, objects)).items() if value}
    pod = _template(objects)["spec"]
    paths = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    files = {
        f"{paths[volume['name']]}/{name}"
        for volume in pod["volumes"]
        for name in ([each["path"] for each in (volume.get("secret") or volume["configMap"]).get("items", ())] or data)
    }
    found = config.parse(str(data[well_known.CONFIGURATION]).encode())
    assert found.tls is not None
    assert found.peers is not None
    named = {found.tls.certificate, found.tls.key, found.peers.ca, *pod["containers"][0]["args"]}
    assert named | ({found.ca_bundle} - {None}) <= files
    assert found.root == paths[names.CLAIM_TEMPLATE]
    accounts = [each.credentials for each in found.upstreams if each.credentials]
    assert len(accounts) == len(found.upstreams) == len({each.username for each in accounts})
    present = [each.username in files and each.password in files for each in accounts]
    assert present == ([True, True, False, False] if case == "full" else [False])


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_credentials_are_unchanged(username: bytes, password: bytes) -> None:
    """A password may have bytes that are not UTF-8."""
    known = inputs(credentials=Credentials(CredentialsState.FOUND, encoded(username), encoded(password)))
    mirror = parsed()
    data = _body(SECRET, desired_objects(mirror, settings(), known))["data"]
    keys = well_known.credentials_keys(mirror.upstream.directory)
    assert tuple(base64.b64decode(data[key]) for key in keys) == (username, password)


def test_vanished_values_are_removed_by_patch() -> None:
    """The user deletes the credentials, and names a Secret with a certificate."""
    before, after = (_body(SECRET, CASES[case]) for case in ("full", "minimal"))
    patch = merge_patch.merge_patch(merged({}, before), after)["data"]
    accounts = {key for each in FULL_DIRECTORIES[:2] for key in well_known.credentials_keys(each)}
    assert {key for key in patch if key.endswith(well_known.CREDENTIALS_SUFFIXES)} == accounts
    assert {patch[key] for key in accounts} == {None}
    patch = merge_patch.merge_patch(merged({}, after), before)["data"]
    assert (patch[well_known.CERTIFICATE], patch[well_known.KEY]) == (None, None)


def test_caches_restart_for_their_settings_only() -> None:
    """They follow configuration, credentials, certificate and CA bundle without a restart."""
    template = _template(CASES["minimal"])
    login = Credentials(CredentialsState.FOUND, encoded(b"bob"), encoded(b"secret"))
    for mirror in (a_mirror().of("ghcr.io"), a_mirror().keeping("1h"), a_mirror().replicated(5)):
        assert _template(desired_objects(parsed(mirror), settings(), inputs())) == template
    for known in (
        inputs(credentials=login),
        inputs(tls=ServingCertificate("another CA", PAIR)),
        inputs(tls=ServingCertificate(CA, KeyPair("renewed", "renewed"))),
    ):
        assert _template(desired_objects(parsed(), settings(), known)) == template
    for variable in ("CACHE_IMAGE", "HTTPS_PROXY", "CA_CERTIFICATE_BUNDLE", "IMAGE_PULL_SECRETS"):
        assert _template(desired_objects(parsed(), settings(**{variable: "changed"}), inputs())) != template


def test_claim_template_keeps_user_values() -> None:
    whole = a_mirror().having("spec.volumeClaimTemplate.kind", "PersistentVolumeClaim")
    claimed = whole.with_claims_labelled({"app": "theirs", "team": "x"}).having("spec.volumeClaimTemplate.status", {})
    (claim,) = _body(STATEFUL_SET, desired_objects(parsed(claimed), settings(), inputs()))["spec"][
        "volumeClaimTemplates"
    ]
    assert claim["metadata"].pop("ownerReferences") == [owner_reference(parsed())]
    recommended = names.recommended_labels("docker", "cache")
    assert recommended.items() <= claim["metadata"]["labels"].items()
    for key in recommended:
        del claim["metadata"]["labels"][key]
    assert claim == {
        "metadata": {"name": "image-store", "labels": {"app": "docker-registry", "mirror": "docker", "team": "x"}},
        "spec": {
            "volumeMode": "Filesystem",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
        },
    }


def _parsed(builder: MirrorBuilder) -> Mirror:
    mirror = parse_mirror(stored(builder), ())
    assert isinstance(mirror, Mirror)
    return mirror


def _body(kind: Kind, objects: list[tuple[Kind, Json]]) -> Json:
    return next(body for each, body in objects if each is kind)


def _template(objects: list[tuple[Kind, Json]]) -> Json:
    """Return the pod template of the caches."""
    template: Json = _body(STATEFUL_SET, objects)["spec"]["template"]
    return template


def _spoil(node: Any) -> None:
    """Change every list and object within."""
    if isinstance(node, dict):
        for value in list(node.values()):
            _spoil(value)
        node.clear()
    elif isinstance(node, list):
        for value in node:
            _spoil(value)
        node.append("spoilt")


def _labels_in(node: Any) -> list[dict[str, str]]:
    if isinstance(node, list):
        return [labels for item in node for labels in _labels_in(item)]
    if not isinstance(node, dict):
        return []
    found = [node[key] for key in ("labels", "matchLabels") if isinstance(node.get(key), dict)]
    return found + [labels for value in node.values() for labels in _labels_in(value)]
