"""Check the output of `kubectl apply` against a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.objects import resources
from tests.cluster.conftest import Running
from tests.localcluster.cluster import Cluster
from tests.support.kube import Kube, until
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json


def test_empty_spec_is_refused(kube: Kube, name: str) -> None:
    assert kube.kubectl("apply", "-f", "-", stdin=a_mirror().named(name).having("spec", {}).raw()) == (
        f'The RegistryMirror "{name}" is invalid: spec.upstreamUrl: Required value: the registry to mirror, as a string'
        ' host[:port]; for example "upstreamUrl: quay.io"\n'
    )


def test_missing_spec_is_refused(kube: Kube, name: str) -> None:
    assert kube.kubectl("apply", "-f", "-", stdin=a_mirror().named(name).without("spec").raw()) == (
        f'The RegistryMirror "{name}" is invalid: spec: Required value: an object with at least upstreamUrl;'
        ' for example "spec: {upstreamUrl: quay.io}"\n'
    )


def test_each_error_is_one_line(kube: Kube, name: str) -> None:
    wrong = (
        a_mirror()
        .named(name)
        .of("https://robot:s3cret@quay.io")
        .known_as("localhost")
        .having("spec.replicas", "2")
        .keeping("7d")
        .storing("20 GB")
    )
    printed = kube.kubectl("apply", "-f", "-", stdin=wrong.raw()).splitlines()
    assert printed[0] == f'The RegistryMirror "{name}" is invalid: '
    assert sorted(line.split(": ")[0] for line in printed[1:]) == [
        "* spec.masqueradeUrl",
        "* spec.replicas",
        "* spec.ttl",
        "* spec.upstreamUrl",
        "* spec.volumeClaimTemplate.spec.resources.requests.storage",
    ]
    assert "s3cret" not in "".join(printed)
    assert kube.find(resources.MIRROR, name) is None


def test_additional_upstreams_are_validated(kube: Kube, name: str) -> None:
    """Also what the API server would refuse itself, such as two equal entries."""
    builder = a_mirror().named(name).also_of("ghcr.io", "ghcr.io", "quay.io/v2", {"upstreamUrl": "https://quay.io:443"})
    printed = kube.kubectl("apply", "-f", "-", stdin=builder.raw())
    for number, error in ((1, "Duplicate value"), (2, "Invalid value"), (3, "Duplicate value")):
        assert f"spec.additionalUpstreams[{number}].upstreamUrl: {error}" in printed
    many = a_mirror().named(name).also_of(*(f"registry-{number}.example.com" for number in range(21)))
    assert "a list of at most 20 registries" in kube.kubectl("apply", "-f", "-", stdin=many.raw())
    kube.mirror(a_mirror().named(name).also_of("ghcr.io", {"upstreamUrl": "docker.io", "credentialsSecret": "login"}))
    kube.patch(resources.MIRROR, name, {"spec": {"additionalUpstreams": [{"upstreamUrl": "gcr.io"}]}})
    assert kube.get(resources.MIRROR, name)["spec"]["additionalUpstreams"] == [{"upstreamUrl": "gcr.io"}]


def test_errors_of_two_objects_are_printed(kube: Kube, name: str) -> None:
    printed = kube.apply(
        a_mirror().named(f"{name}a").having("spec", {}).raw(), a_mirror().named(f"{name}b").keeping("7d").raw()
    )
    assert "spec.upstreamUrl: Required value: the registry to mirror" in printed
    assert "spec.ttl: Invalid value" in printed
    assert "write 168h" in printed


WARNED: dict[str, tuple[MirrorBuilder, str]] = {
    "Docker Hub's aliases": (
        a_mirror().of("hub.docker.io"),
        "hub.docker.io is not a registry; the mirror uses https://registry-1.docker.io",
    ),
    "http": (a_mirror().of("http://registry.example.com"), "http:// sends images"),
    "http with credentials": (
        a_mirror().of("http://registry.example.com").logging_in_with("login"),
        "the credentials of spec.credentialsSecret",
    ),
    "credentials": (a_mirror().logging_in_with("login"), "every pod of the cluster can pull all private images"),
}


@pytest.mark.parametrize("subject", WARNED)
def test_warning_is_printed_once(kube: Kube, name: str, subject: str) -> None:
    builder, sentence = WARNED[subject]
    printed = kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=builder.named(name).raw())
    assert printed.count(sentence) == 1
    assert "Warning: spec." in printed
    assert f"registrymirror.k8s.osp.tech/{name} created (server dry run)" in printed


def test_defaults_are_stored_and_apply_is_idempotent(kube: Kube, name: str) -> None:
    raw = a_mirror().named(name).of(f"{name}.example.com").raw()
    assert kube.kubectl("apply", "-f", "-", stdin=raw) == f"registrymirror.k8s.osp.tech/{name} created\n"
    stored = kube.get(resources.MIRROR, name)
    assert stored["spec"] == {
        "upstreamUrl": f"{name}.example.com",
        "replicas": 2,
        "ttl": "168h",
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
        },
    }
    assert stored["metadata"]["labels"] == {"app": "docker-registry", "mirror": name}
    assert kube.kubectl("apply", "-f", "-", stdin=raw) == f"registrymirror.k8s.osp.tech/{name} unchanged\n"
    assert kube.kubectl("apply", "-f", "-", stdin=raw) == f"registrymirror.k8s.osp.tech/{name} unchanged\n"


def test_app_label_stays_and_mirror_label_is_refused(kube: Kube, name: str) -> None:
    mine = a_mirror().named(name).of(f"{name}.example.com").labelled({"app": "mine"}).raw()
    kube.kubectl("apply", "-f", "-", stdin=mine)
    assert kube.get(resources.MIRROR, name)["metadata"]["labels"] == {"app": "mine", "mirror": name}
    assert kube.kubectl("apply", "-f", "-", stdin=mine).endswith(" unchanged\n")
    printed = kube.kubectl("apply", "-f", "-", stdin=a_mirror().named(f"{name}b").labelled({"mirror": "x"}).raw())
    assert f'metadata.labels.mirror: Invalid value: "x": must be "{name}b"' in printed


def test_set_claim_fields_are_kept(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).accessed("ReadWriteMany").on_class("fast"))
    claim = kube.get(resources.MIRROR, name)["spec"]["volumeClaimTemplate"]["spec"]
    assert claim == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "20Gi"}},
    }


def test_update_keeps_stored_size(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).storing("50Gi"))
    kube.patch(resources.MIRROR, name, {"spec": {"volumeClaimTemplate": None}})
    requests = kube.get(resources.MIRROR, name)["spec"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]
    assert requests == {"storage": "50Gi"}


def _refusal(kube: Kube, name: str, path: str, value: Any) -> str:
    changed = kube.get(resources.MIRROR, name)
    builder = MirrorBuilder(changed).having(path, value)
    return kube.kubectl("replace", "-f", "-", stdin=builder.raw())


def test_immutable_field_is_refused(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).on_class("fast"))
    printed = _refusal(kube, name, "spec.volumeClaimTemplate.spec.storageClassName", "slow")
    assert printed == (
        f'The RegistryMirror "{name}" is invalid: spec.volumeClaimTemplate.spec.storageClassName: Forbidden:'
        " cannot change after creation; create another mirror, or delete this one and create it again"
        " (its cache is lost)\n"
    )


def test_invalid_names_are_refused(kube: Kube) -> None:
    for wrong in ("a" * 37, "a.b", "A", "a-headless"):
        printed = kube.kubectl("create", "-f", "-", stdin=a_mirror().named(wrong).raw())
        assert "metadata.name: Invalid value" in printed, wrong
    nameless = a_mirror().without("metadata").having("metadata.generateName", "docker-").raw()
    assert "generateName is not supported" in kube.kubectl("create", "-f", "-", stdin=nameless)


def test_dry_run_stores_nothing(kube: Kube, name: str) -> None:
    kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=a_mirror().named(name).raw())
    assert kube.find(resources.MIRROR, name) is None


def test_explain_describes_fields(kube: Kube) -> None:
    fields = kube.kubectl("explain", "rm.spec")
    for each in ("upstreamUrl", "masqueradeUrl", "credentialsSecret", "volumeClaimTemplate", "replicas", "ttl"):
        assert f"  {each}\t" in fields
    assert "<no description>" not in kube.kubectl("explain", "rm", "--recursive=false")
    assert "Registry to mirror, as host[:port]." in kube.kubectl("explain", "rm.spec.upstreamUrl")


OLD: dict[str, Json] = {
    "no spec": {},
    "an empty spec": {"spec": {}},
    "a wrong upstream": {"spec": {"upstreamUrl": "https://quay.io/path", "ttl": "7d"}},
    "a name too long": {"spec": {"upstreamUrl": "quay.io"}},
}


@pytest.mark.parametrize("webhook", ["with the webhook", "without the webhook"])
def test_old_invalid_objects_can_be_deleted(old_objects: Running, webhook: str) -> None:
    """The objects are older than all rules. The webhook may be down."""
    kube = old_objects.kube
    if webhook == "with the webhook":
        old_objects.system.start_webhook()
    for number, what in enumerate(OLD):
        name = _old_name(webhook, number)
        assert kube.kubectl("label", "rm", name, "team=storage").endswith(" labeled\n"), what
        freed = kube.kubectl("patch", "rm", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert freed.endswith(" patched\n"), (what, freed)
        assert kube.kubectl("delete", "rm", name).startswith("registrymirror"), what
        kube.until_gone(resources.MIRROR, name)
    old_objects.system.processes.stop(["webhook"] if webhook == "with the webhook" else [])


def _old_name(webhook: str, number: int) -> str:
    short = f"old-{webhook.split(maxsplit=1)[0]}-{number}"
    return short + "-" + "x" * 40 if number == len(OLD) - 1 else short


@pytest.fixture(scope="module")
def old_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a cluster with objects from a CRD without rules, and install the current CRD."""
    with Cluster(tmp_path_factory.mktemp("old")).start() as cluster:
        running = Running(cluster)
        _without_rules(running.kube)
        for webhook in ("with the webhook", "without the webhook", "kept"):
            for number, spec in enumerate(OLD.values()):
                metadata = {"name": _old_name(webhook, number), "finalizers": ["example.com/old"]}
                running.kube.create(resources.MIRROR, {"metadata": metadata, **spec})
        running.system.install()
        running.system.start_controller()
        running.system.start_secret_sync()
        yield running
        running.stop()


def _without_rules(kube: Kube) -> None:
    """Apply a CRD without rules."""
    names = {"kind": "RegistryMirror", "plural": "registrymirrors", "singular": "registrymirror", "shortNames": ["rm"]}
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": anything}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "registrymirrors.k8s.osp.tech"},
        "spec": {"group": "k8s.osp.tech", "scope": "Cluster", "names": names, "versions": [version]},
    }
    kube.apply(definition)
    kube.kubectl("wait", "--for=condition=Established", "crd/registrymirrors.k8s.osp.tech")


def test_invalid_stored_object_has_condition(old_objects: Running) -> None:
    kube = old_objects.kube
    message = kube.until_condition(_old_name("kept", 2), "Accepted", "False", "InvalidSpec")
    assert "spec.upstreamUrl: Invalid value" in message
    assert "spec.ttl: Invalid value" in message


def test_webhook_down_refuses_mirrors(
    old_objects: Running,
) -> None:
    printed = old_objects.kube.kubectl("apply", "-f", "-", stdin=a_mirror().named("away").raw())
    assert 'failed calling webhook "mutate.registrymirrors.k8s.osp.tech"' in printed
    assert old_objects.kube.find(resources.MIRROR, "away") is None


def test_schema_refuses_without_webhook(old_objects: Running) -> None:
    """The webhook configurations are deleted first."""
    kube = old_objects.kube
    for kind in (resources.MUTATING, resources.VALIDATING):
        kube.delete(kind, "registrymirror")

    def refused(builder: MirrorBuilder) -> str:
        return until(
            lambda: _unless_webhook(kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=builder.raw())),
            why="the API server no longer calls the webhook",
        )

    guard = a_mirror().named("guard")
    assert "spec is required" in refused(guard.without("spec"))
    assert "upstreamUrl" in refused(guard.having("spec", {}))
    assert "should match" in refused(guard.of("https://quay.io/path"))
    assert "at most 36 characters" in refused(guard.named("a" * 37))
    assert "less than or equal to 10" in refused(guard.replicated(11))
    assert "should match" in refused(guard.keeping("7d"))
    assert "Unsupported value" in refused(guard.having("spec.volumeClaimTemplate.spec.volumeMode", "Block"))
    assert "needs its own volume" in refused(guard.having("spec.volumeClaimTemplate.spec.volumeName", "v"))
    assert "created (server dry run)" in refused(guard)


def _unless_webhook(printed: str) -> str:
    return "" if "failed calling webhook" in printed else printed
