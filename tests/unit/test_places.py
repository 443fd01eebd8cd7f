"""Check that no value of a mirror or a variable escapes from its place in files.

Every field and variable gets any text. It is refused, or it appears in its place and changes nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import names
from common.settings import SettingsError, read
from controller.desired import desired_objects
from controller.model.inputs import Credentials, CredentialsState, Inputs, ServingCertificate
from controller.model.mirror import Mirror, parse_mirror
from controller.objects.resources import STATEFUL_SET
from controller.settings import ControllerSettings
from tests.support import strategies
from tests.support.controller import CA, PAIR, encoded, inputs, parsed, settings, stored
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror
from tests.support.places import assert_in_place, pods_of

if TYPE_CHECKING:
    from common.types import Json

OURS = settings(HOSTESS_DOCKER_IMAGE="registry-mirror/hostess")
METADATA = "spec.volumeClaimTemplate.metadata"
# Special characters of shells, YAML, TOML, JSON, resolvers, URLs and terminals.
SHARP = (
    *"\n\r\t\x00\x7f\u2028\ufeff\u202e #;&|'\"`\\*~/?@:}",
    *("\x1b[2J", "$(id)", "${IFS}", "$HOME", "../", "//", "%0a", ": ", "- ", "!!python/name:os", "{{"),
    *('"\nserver = "http://evil.example"', '"]\n[host."http://evil.example"]', "\n10.0.0.1\tevil.example", "\nEND\n"),
)
VALID: Json = {
    "spec.upstreamUrl": "https://quay.io:5000",
    "spec.masqueradeUrl": "mirror.example.com",
    "spec.credentialsSecret": "login",
    "spec.ttl": "1h30m",
    "metadata.name": "docker",
    f"{CLAIM}.storageClassName": "fast",
    f"{CLAIM}.volumeAttributesClassName": "fast",
    f"{CLAIM}.resources.requests.storage": "20Gi",
    f"{CLAIM}.resources.limits.storage": "30Gi",
    f"{METADATA}.labels": {"team": "platform"},
    f"{METADATA}.annotations": {"example.com/backup": "no"},
    f"{CLAIM}.selector.matchLabels": {"disk": "ssd"},
    f"{CLAIM}.dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "warm"},
    f"{CLAIM}.dataSourceRef": {"apiGroup": "x.example.com", "kind": "Warm", "name": "warm", "namespace": "other"},
    "spec.cache.nodeSelector": {"node-role.kubernetes.io/infra": "yes"},
    "spec.cache.priorityClassName": "infra",
    "spec.cache.labels": {"team": "platform"},
    "spec.cache.annotations": {"example.com/note": "no"},
    "spec.cache.trafficDistribution": "PreferClose",
    "spec.cache.resources.limits": {"memory": "1Gi"},
    "spec.agent.labels": {"team": "nodes"},
    "spec.agent.annotations": {"example.com/note": "no"},
    "spec.agent.priorityClassName": "agents",
}
VARIABLES = {
    "NAMESPACE": "registry-mirror",
    "DOCKER_CERTIFICATE_SECRET": "wildcard",
    "HOSTESS_DOCKER_REGISTRY": "registry.example.com:5000",
    "HOSTESS_DOCKER_IMAGE": "team/hostess",
    "HOSTESS_DOCKER_TAG": "2.0",
    "HOSTESS_NODE_SELECTOR": "type=metal",
    "CONTAINERD_CERTS_DIR": "/etc/containerd/certs.d",
    "IMAGE_PULL_SECRETS": "one,two",
    "CA_CERTIFICATE_BUNDLE": "bundle",
    "CACHE_IMAGE": "registry.example.com/cache:3",
    "HTTPS_PROXY": "http://proxy.example.com:3128",
    "NO_PROXY": "10.0.0.0/8",
}


def texts(valid: str) -> st.SearchStrategy[str]:
    """Generate a valid text with a special character anywhere in it, or any text."""
    sharp = st.tuples(st.sampled_from(SHARP), st.integers(0, len(valid)))
    return st.text(max_size=20) | sharp.map(lambda pair: valid[: pair[1]] + pair[0] + valid[pair[1] :])


def values(valid: str | Json) -> st.SearchStrategy[Any]:
    """Generate the same for an object of texts, in its keys and values."""
    if isinstance(valid, str):
        return texts(valid)
    keys = st.sampled_from(sorted(valid))
    renamed = keys.flatmap(lambda key: texts(key).map(lambda new: {new: valid[key]}))
    return renamed | keys.flatmap(lambda key: texts(valid[key]).map(lambda new: {**valid, key: new}))


def known() -> st.SearchStrategy[Inputs]:
    """Generate inputs with any credentials."""
    found = st.builds(Credentials, st.just(CredentialsState.FOUND), *[st.binary(min_size=1).map(encoded)] * 2)
    return found.map(lambda credentials: inputs(credentials=credentials, tls=ServingCertificate(CA, PAIR)))


@pytest.mark.parametrize("path", VALID)
@given(st.data())
def test_any_field_value_stays_in_place(path: str, data: st.DataObject) -> None:
    mirror = parse_mirror(stored(a_mirror().having(path, data.draw(values(VALID[path])))), ())
    if isinstance(mirror, Mirror):
        assert_in_place(mirror, OURS, data.draw(known()))
        assert_claims_are_labelled(mirror)
        assert_pods_are_placed_only(mirror)


def assert_claims_are_labelled(mirror: Mirror) -> None:
    """Assert the labels and the name of the claims."""
    sets = [body for kind, body in desired_objects(mirror, OURS, inputs()) if kind is STATEFUL_SET]
    (claim,) = sets[0]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == names.CLAIM_TEMPLATE
    assert set(claim["metadata"]) <= {"name", "labels", "annotations", "ownerReferences"}
    assert claim["metadata"]["ownerReferences"][0]["uid"] == mirror.uid
    assert names.labels(mirror.name).items() <= claim["metadata"]["labels"].items()
    assert claim["metadata"].get("annotations") == (mirror.claim.get("metadata") or {}).get("annotations")


def assert_pods_are_placed_only(mirror: Mirror) -> None:
    """Assert that spec.cache and spec.agent change no other field of the pods, and no selector."""
    plain = replace(mirror, spec=mirror.spec.model_copy(update={"cache": None, "agent": None}))
    chosen, usual = ([body for _, body in desired_objects(each, OURS, inputs())] for each in (mirror, plain))
    for body, other in zip(chosen, usual, strict=True):
        assert body["metadata"]["labels"].items() >= other["metadata"]["labels"].items()
        assert body.get("spec", {}).get("selector") == other.get("spec", {}).get("selector")
        if "template" in body.get("spec", {}):
            found, expected = (each["spec"]["template"] for each in (body, other))
            assert found["metadata"]["labels"].items() >= expected["metadata"]["labels"].items()
            assert unplaced(found["spec"]) == unplaced(expected["spec"])


def unplaced(pod: Json) -> Json:
    """Return a pod without the fields of spec.cache and spec.agent."""
    (container,) = pod["containers"]
    kept = {key: value for key, value in container.items() if key != "resources"}
    fields = ("priorityClassName", "nodeSelector", "tolerations", "affinity")
    return {key: value for key, value in pod.items() if key not in fields} | {"containers": [kept]}


@pytest.mark.parametrize("path", VALID)
def test_valid_field_value_is_accepted(path: str) -> None:
    """Shows that the test above does not only see refusals."""
    assert_in_place(parsed(a_mirror().having(path, VALID[path])), OURS, inputs())


@given(strategies.mirrors(), known())
def test_valid_mirror_stays_in_place(builder: MirrorBuilder, around: Inputs) -> None:
    mirror = parse_mirror(stored(builder), ())
    assert isinstance(mirror, Mirror)
    assert_in_place(mirror, OURS, around)
    assert_claims_are_labelled(mirror)
    assert_pods_are_placed_only(mirror)


@pytest.mark.parametrize("variable", VARIABLES)
@given(st.data())
def test_any_variable_value_stays_in_place(variable: str, data: st.DataObject) -> None:
    # An environment cannot hold NUL, and an empty variable counts as unset.
    text = data.draw(texts(VARIABLES[variable]).filter(lambda text: "\0" not in text and text.strip()))
    try:
        chosen = read(ControllerSettings, {**VARIABLES, variable: text})
    except SettingsError:
        return
    around = inputs()
    mirror = parsed()
    assert_in_place(mirror, chosen, around)
    expected = read(ControllerSettings, VARIABLES)
    plain = pods_of(desired_objects(mirror, expected, around))
    for pod, other in zip(pods_of(desired_objects(mirror, chosen, around)), plain, strict=True):
        assert without(pod) == without(other)
    assert images(mirror, chosen) == [chosen.cache_image, chosen.hostess_image]
    assert host_paths(mirror, chosen) == {
        *("/etc/hosts", "/etc/mirror-hostess", "/var/lock/mirror-hostess", "/etc/docker"),
        *("/etc/containers", "/etc/containers/registries.conf.d"),
        str(PurePosixPath(chosen.containerd_certs_dir).parent),
    }


def without(pod: Json) -> Json:
    """Return a pod without the fields that settings change."""
    (container,) = pod["containers"]
    kept = {key: value for key, value in container.items() if key not in ("image", "env", "volumeMounts")}
    env = [each["name"] for each in container["env"] if not each["name"].endswith(("_PROXY", "CERT_DIR"))]
    rest = {key: value for key, value in pod.items() if key not in ("imagePullSecrets", "affinity", "volumes")}
    return {**rest, "containers": [{**kept, "env": env}]}


def images(mirror: Mirror, chosen: ControllerSettings) -> list[str]:
    """Return the images of the pods."""
    pods = pods_of(desired_objects(mirror, chosen, inputs()))
    return [pod["containers"][0]["image"] for pod in pods]


def host_paths(mirror: Mirror, chosen: ControllerSettings) -> set[str]:
    """Return the hostPath volumes of the pods."""
    pods = pods_of(desired_objects(mirror, chosen, inputs()))
    return {volume["hostPath"]["path"] for pod in pods for volume in pod["volumes"] if "hostPath" in volume}
