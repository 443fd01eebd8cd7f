"""What a person reads at `kubectl apply`, through the real API server and the real kubectl."""

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


def test_an_empty_spec_is_refused_with_the_field_that_it_is_required_and_an_example(kube: Kube, name: str) -> None:
    assert kube.kubectl("apply", "-f", "-", stdin=a_mirror().named(name).having("spec", {}).raw()) == (
        f'The RegistryMirror "{name}" is invalid: spec.upstreamUrl: Required value: the registry to mirror, as a string'
        ' host[:port]; for example "upstreamUrl: quay.io"\n'
    )


def test_no_spec_at_all_is_refused_in_our_words(kube: Kube, name: str) -> None:
    assert kube.kubectl("apply", "-f", "-", stdin=a_mirror().named(name).without("spec").raw()) == (
        f'The RegistryMirror "{name}" is invalid: spec: Required value: an object with at least upstreamUrl;'
        ' for example "spec: {upstreamUrl: quay.io}"\n'
    )


def test_five_mistakes_are_five_lines(kube: Kube, name: str) -> None:
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


def test_two_bad_objects_in_one_apply_are_both_told_in_full(kube: Kube, name: str) -> None:
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
    "a ttl of 0s": (a_mirror().keeping("0s"), "0s never frees space"),
    "credentials": (a_mirror().logging_in_with("login"), "every pod of the cluster can pull all private images"),
}


@pytest.mark.parametrize("surprise", WARNED)
def test_what_is_legal_but_surprising_is_warned_of_once(kube: Kube, name: str, surprise: str) -> None:
    builder, sentence = WARNED[surprise]
    printed = kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=builder.named(name).raw())
    assert printed.count(sentence) == 1
    assert "Warning: spec." in printed
    assert f"registrymirror.k8s.osp.tech/{name} created (server dry run)" in printed


def test_defaults_and_labels_are_stored_and_applying_again_changes_nothing(kube: Kube, name: str) -> None:
    raw = a_mirror().named(name).of(f"{name}.example.com").raw()
    assert kube.kubectl("apply", "-f", "-", stdin=raw) == f"registrymirror.k8s.osp.tech/{name} created\n"
    live = kube.get(resources.MIRROR, name)
    assert live["spec"] == {
        "upstreamUrl": f"{name}.example.com",
        "replicas": 2,
        "ttl": "168h",
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
        },
    }
    assert live["metadata"]["labels"] == {"app": "docker-registry", "mirror": name}
    assert kube.kubectl("apply", "-f", "-", stdin=raw) == f"registrymirror.k8s.osp.tech/{name} unchanged\n"
    assert kube.kubectl("apply", "-f", "-", stdin=raw) == f"registrymirror.k8s.osp.tech/{name} unchanged\n"


def test_an_app_label_of_the_users_stays_and_a_foreign_mirror_label_is_refused(kube: Kube, name: str) -> None:
    mine = a_mirror().named(name).of(f"{name}.example.com").labelled({"app": "mine"}).raw()
    kube.kubectl("apply", "-f", "-", stdin=mine)
    assert kube.get(resources.MIRROR, name)["metadata"]["labels"] == {"app": "mine", "mirror": name}
    assert kube.kubectl("apply", "-f", "-", stdin=mine).endswith(" unchanged\n")
    printed = kube.kubectl("apply", "-f", "-", stdin=a_mirror().named(f"{name}b").labelled({"mirror": "x"}).raw())
    assert f'metadata.labels.mirror: Invalid value: "x": must be "{name}b"' in printed


def test_only_missing_parts_of_the_claim_are_filled_in(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).accessed("ReadWriteMany").on_class("fast"))
    claim = kube.get(resources.MIRROR, name)["spec"]["volumeClaimTemplate"]["spec"]
    assert claim == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "20Gi"}},
    }


def test_on_update_a_missing_size_keeps_what_was_stored(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).storing("50Gi"))
    kube.patch(resources.MIRROR, name, {"spec": {"volumeClaimTemplate": None}})
    requests = kube.get(resources.MIRROR, name)["spec"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]
    assert requests == {"storage": "50Gi"}


def _refusal(kube: Kube, name: str, path: str, value: Any) -> str:
    changed = kube.get(resources.MIRROR, name)
    builder = MirrorBuilder(changed).having(path, value)
    return kube.kubectl("replace", "-f", "-", stdin=builder.raw())


def test_what_cannot_change_is_refused_with_a_way_out(kube: Kube, name: str) -> None:
    kube.mirror(a_mirror().named(name).on_class("fast"))
    printed = _refusal(kube, name, "spec.volumeClaimTemplate.spec.storageClassName", "slow")
    assert printed == (
        f'The RegistryMirror "{name}" is invalid: spec.volumeClaimTemplate.spec.storageClassName: Forbidden:'
        " cannot change after creation; create another mirror, or delete this one and create it again"
        " (its cache is lost)\n"
    )


def test_names_that_cannot_become_part_of_others_are_refused(kube: Kube) -> None:
    for wrong in ("a" * 37, "a.b", "A", "a-headless"):
        printed = kube.kubectl("create", "-f", "-", stdin=a_mirror().named(wrong).raw())
        assert "metadata.name: Invalid value" in printed, wrong
    nameless = a_mirror().without("metadata").having("metadata.generateName", "docker-").raw()
    assert "generateName is not supported" in kube.kubectl("create", "-f", "-", stdin=nameless)


def test_a_dry_run_leaves_nothing(kube: Kube, name: str) -> None:
    kube.kubectl("apply", "--dry-run=server", "-f", "-", stdin=a_mirror().named(name).raw())
    assert kube.find(resources.MIRROR, name) is None


def test_explain_reads_like_documentation(kube: Kube) -> None:
    fields = kube.kubectl("explain", "rm.spec")
    for each in ("upstreamUrl", "masqueradeUrl", "credentialsSecret", "volumeClaimTemplate", "replicas", "ttl"):
        assert f"  {each}\t" in fields
    assert "<no description>" not in kube.kubectl("explain", "rm", "--recursive=false")
    assert "The registry to mirror: host[:port], for example quay.io." in kube.kubectl("explain", "rm.spec.upstreamUrl")


OLD: dict[str, Json] = {
    "no spec": {},
    "an empty spec": {"spec": {}},
    "a wrong upstream": {"spec": {"upstreamUrl": "https://quay.io/path", "ttl": "7d"}},
    "a name too long": {"spec": {"upstreamUrl": "quay.io"}},
}


@pytest.mark.parametrize("webhook", ["with the webhook", "without the webhook"])
def test_old_invalid_objects_can_be_labelled_freed_of_finalizers_and_deleted(
    old_objects: Running, webhook: str
) -> None:
    """They were stored before any rule existed; also while the webhook is away."""
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
    """A cluster with objects that were stored under a definition without any rule, then given today's."""
    with Cluster(tmp_path_factory.mktemp("old")).start() as cluster:
        running = Running(cluster)
        _without_rules(running.kube)
        for webhook in ("with the webhook", "without the webhook", "kept"):
            for number, spec in enumerate(OLD.values()):
                metadata = {"name": _old_name(webhook, number), "finalizers": ["example.com/old"]}
                running.kube.create(resources.MIRROR, {"metadata": metadata, **spec})
        running.system.install()
        running.system.start_controller()
        running.system.start_courier()
        yield running
        running.stop()


def _without_rules(kube: Kube) -> None:
    """The seed's definition, in today's API version."""
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


def test_an_invalid_stored_object_stops_no_other_and_is_told_in_its_status(old_objects: Running) -> None:
    kube = old_objects.kube
    told = kube.until_condition(_old_name("kept", 2), "Accepted", "False", "InvalidSpec")
    assert "spec.upstreamUrl: Invalid value" in told
    assert "spec.ttl: Invalid value" in told


def test_while_the_webhook_is_away_nothing_is_stored_unjudged_and_kubectl_says_who_is_missing(
    old_objects: Running,
) -> None:
    printed = old_objects.kube.kubectl("apply", "-f", "-", stdin=a_mirror().named("away").raw())
    assert 'failed calling webhook "mutate.registrymirrors.k8s.osp.tech"' in printed
    assert old_objects.kube.find(resources.MIRROR, "away") is None


def test_the_schema_alone_guards_what_it_can(old_objects: Running) -> None:
    """With the registrations gone, the structural schema and its CEL rules still refuse."""
    kube = old_objects.kube
    for kind in (resources.MUTATING, resources.VALIDATING):
        kube.delete(kind, "registrymirror")

    def refused(builder: MirrorBuilder) -> str:
        return until(
            lambda: _unless_webhook(kube.kubectl("create", "--dry-run=server", "-f", "-", stdin=builder.raw())),
            why="the registrations are forgotten",
        )

    guard = a_mirror().named("guard")
    assert "spec is required" in refused(guard.without("spec"))
    assert "upstreamUrl" in refused(guard.having("spec", {}))
    assert "should match" in refused(guard.of("https://quay.io/path"))
    assert "at most 36 characters" in refused(guard.named("a" * 37))
    assert "less than or equal to 10" in refused(guard.replicated(11))
    assert "should match" in refused(guard.keeping("7d"))
    assert "Unsupported value" in refused(guard.having("spec.volumeClaimTemplate.spec.volumeMode", "Block"))
    assert "volume of its own" in refused(guard.having("spec.volumeClaimTemplate.spec.volumeName", "v"))
    assert "created (server dry run)" in refused(guard)


def _unless_webhook(printed: str) -> str:
    return "" if "failed calling webhook" in printed else printed
