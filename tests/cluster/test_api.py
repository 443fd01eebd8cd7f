"""Use RegistryMirrors as users expect it of each kind: scale, columns, categories, roles, kstatus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.objects import resources
from tests.support.caches import running_caches
from tests.support.faults import one
from tests.support.kube import NAMESPACE, Kube, account_keys, text, until

if TYPE_CHECKING:
    from tests.cluster.conftest import Running


def test_mirror_can_be_scaled(shared: Running, kube: Kube, name: str) -> None:
    """The schema limits the replicas as admission does."""
    run = shared.cluster.run_kubectl
    kube.mirror(one(name))
    run("scale", "rm", name, "--replicas=3")
    until(lambda: kube.get(resources.MIRROR, name)["spec"]["replicas"] == 3, why="the spec has it")
    child = f"registry-mirror-{name}"
    until(lambda: kube.until_there(resources.STATEFUL_SET, child)["spec"]["replicas"] == 3, why="three pods")
    refused = run("scale", "rm", name, "--replicas=11", check=False)
    assert refused.returncode
    assert "less than or equal to 10" in refused.stderr
    assert kube.get(resources.MIRROR, name)["spec"]["replicas"] == 3


def test_columns_have_counts(shared: Running, kube: Kube, name: str) -> None:
    run = shared.cluster.run_kubectl
    kube.mirror(one(name))
    with running_caches(shared, name):
        until(lambda: "2/2" in run("get", "rm", name, "--no-headers").stdout.split(), why="both caches are ready")
    header, *rows = run("get", "registry-mirror", "-o", "wide").stdout.splitlines()
    row = next(line for line in rows if line.startswith(f"{name} "))
    assert header.split()[-3:] == ["STORAGE", "TTL", "MESSAGE"]
    assert "168h" in row


def test_viewer_reads_mirrors(shared: Running) -> None:
    """The roles `view` and `edit` read mirrors. None of them writes one."""
    run = shared.cluster.run_kubectl

    def allowed(user: str) -> set[str]:
        asked = {verb: ("auth", "can-i", verb, "rm", f"--as={user}") for verb in ("get", "list", "create", "patch")}
        return {verb for verb, command in asked.items() if not run(*command, check=False).returncode}

    for role in ("view", "edit"):
        run("create", "clusterrolebinding", role, f"--clusterrole={role}", f"--user={role}er")
        until(lambda role=role: allowed(f"{role}er") == {"get", "list"}, why="the role is aggregated")  # type: ignore[misc]
        run("delete", "clusterrolebinding", role)


def test_conflicting_mirror_is_stalled(kube: Kube, name: str) -> None:
    """Tools with kstatus report a failure while it is so, and progress before the controller has seen a mirror."""
    builder = one(name).known_as(f"{name}.example.org")
    dry = kube.create(resources.MIRROR, builder.raw(), dryRun="All")
    assert dry["status"] == {"observedGeneration": -1}
    kube.mirror(builder)
    kube.until_next_second(name)
    younger = f"{name}y"
    kube.mirror(one(younger).known_as(f"{name}.example.org"))
    message = kube.until_condition(younger, "Stalled", "True", "MasqueradeConflict")
    assert f"RegistryMirror {name} is older" in message
    kube.delete(resources.MIRROR, name)
    until(lambda: "Stalled" not in kube.conditions(younger) and kube.conditions(younger), why="no conflict is left")


def test_docker_registry_secret_is_used(shared: Running, kube: Kube, name: str) -> None:
    """A Secret of `kubectl create secret docker-registry` has the account of the upstream's host."""
    login = ("--docker-username=robot", "--docker-password=se:cret")
    command = ("-n", NAMESPACE, "create", "secret", "docker-registry", name)
    shared.cluster.run_kubectl(*command, f"--docker-server={name}.example.com", *login)
    kube.mirror(one(name).logging_in_with(name))
    secret = kube.until_there(resources.SECRET, f"registry-mirror-{name}")
    assert [text(secret, key) for key in account_keys(secret)] == ["robot", "se:cret"]
    kube.delete(resources.SECRET, name)
    shared.cluster.run_kubectl(*command, "--docker-server=another.example.com", *login)
    kube.until_condition(name, "CredentialsAvailable", "False", "SecretIncomplete")
    kube.delete(resources.SECRET, name)


def test_objects_have_recommended_labels(kube: Kube, name: str) -> None:
    kube.mirror(one(name))
    labels = {"app.kubernetes.io/part-of": "registry-mirror", "app.kubernetes.io/instance": name}
    for kind in (resources.STATEFUL_SET, resources.DAEMON_SET):
        found = kube.until_there(kind, f"registry-mirror-{name}")
        assert labels.items() <= found["metadata"]["labels"].items()
        assert labels.items() <= found["spec"]["template"]["metadata"]["labels"].items()
        assert not labels.keys() & found["spec"]["selector"]["matchLabels"].keys()
