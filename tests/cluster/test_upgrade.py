"""Upgrade the caches of a mirror to another image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.objects import resources
from tests.cache.behaviour import Behaviour
from tests.support.caches import running_caches
from tests.support.certificates import Issuer
from tests.support.components import pods_of
from tests.support.faults import one
from tests.support.kube import Kube, until
from tests.support.registries import running_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.conftest import Running

NEXT = "registry.example.com/registry-mirror/cache:99.0.0"
BUNDLE = "upstream-ca"


def images(kube: Kube) -> list[str]:
    """Return the images of the cache pods."""
    return [pod["spec"]["containers"][0]["image"] for pod in pods_of(kube, "old", "registry")]


def test_new_image_replaces_one_cache_at_a_time(fresh: Callable[..., Running]) -> None:
    """The mirror serves meanwhile, and the new caches have the content of the former ones."""
    running, issuer = fresh(CA_CERTIFICATE_BUNDLE=BUNDLE), Issuer()
    kube = running.kube
    bundle = {"metadata": {"name": BUNDLE}, "data": {"ca-certificates.crt": issuer.certificate.decode()}}
    kube.create(resources.CONFIG_MAP, bundle)
    running.system.start()
    with running_registry(issuer) as registry:
        registry.push("a")
        kube.mirror(one("old").of(registry.url).known_as("old.example.com"))
        with running_caches(running, "old") as caches:
            kube.until_condition("old", "CacheAvailable", "True", "AllReplicasReady")
            for number in (0, 1):
                caches[number].pull("a")
            running.system.processes.stop(["controller"])
            running.system.start_controller(CACHE_IMAGE=NEXT)
            seen: set[tuple[str, str]] = set()

            def is_over() -> bool:
                seen.add(kube.condition("old", "CacheAvailable"))
                return images(kube) == [NEXT, NEXT] and kube.condition("old", "CacheAvailable")[1] == "AllReplicasReady"

            until(is_over, why=f"both are replaced; {seen}", seconds=60)
            assert {status for status, _ in seen} == {"True"}
            assert ("True", "RollingOut") in seen
            registry.does, sent = Behaviour(status={"": 503}), registry.sent
            for number in (0, 1):
                caches[number].pull("a")
            assert registry.sent == sent
