"""Build RegistryMirrors: `a_mirror().named("docker").of("quay.io").storing("20Gi")`.

Each method returns a new builder. `raw()` returns a copy of the JSON. Builders accept invalid values.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.types import Json

CLAIM = "spec.volumeClaimTemplate.spec"


@dataclass(frozen=True)
class MirrorBuilder:
    """A builder of a RegistryMirror."""

    document: Json

    def having(self, path: str, value: Any) -> MirrorBuilder:
        """Set `value` at a path such as `spec.ttl`, and create missing parents."""
        document = copy.deepcopy(self.document)
        *parents, last = path.split(".")
        node = document
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = copy.deepcopy(value)
        return MirrorBuilder(document)

    def without(self, path: str) -> MirrorBuilder:
        """Remove the value at a path."""
        document = copy.deepcopy(self.document)
        *parents, last = path.split(".")
        node = document
        for key in parents:
            node = node.get(key, {})
        node.pop(last, None)
        return MirrorBuilder(document)

    def named(self, name: str) -> MirrorBuilder:
        """Set the name."""
        return self.having("metadata.name", name)

    def labelled(self, labels: dict[str, str]) -> MirrorBuilder:
        """Set exactly these labels."""
        return self.having("metadata.labels", labels)

    def of(self, upstream_url: str) -> MirrorBuilder:
        """Set the upstream."""
        return self.having("spec.upstreamUrl", upstream_url)

    def also_of(self, *upstreams: str | Json) -> MirrorBuilder:
        """Set the additional upstreams, each by its URL or as an object."""
        entries = [{"upstreamUrl": each} if isinstance(each, str) else each for each in upstreams]
        return self.having("spec.additionalUpstreams", entries)

    def known_as(self, masquerade_url: str) -> MirrorBuilder:
        """Set the host name on the nodes."""
        return self.having("spec.masqueradeUrl", masquerade_url)

    def logging_in_with(self, secret: str) -> MirrorBuilder:
        """Set the Secret with the credentials."""
        return self.having("spec.credentialsSecret", secret)

    def replicated(self, times: int) -> MirrorBuilder:
        """Set the number of cache pods."""
        return self.having("spec.replicas", times)

    def keeping(self, ttl: str) -> MirrorBuilder:
        """Set the ttl."""
        return self.having("spec.ttl", ttl)

    def storing(self, amount: str | int) -> MirrorBuilder:
        """Set the storage of each cache pod."""
        return self.having(f"{CLAIM}.resources.requests.storage", amount)

    def limited_to(self, amount: str | int) -> MirrorBuilder:
        """Set the storage limit of each cache pod."""
        return self.having(f"{CLAIM}.resources.limits.storage", amount)

    def on_class(self, storage_class: str) -> MirrorBuilder:
        """Set the StorageClass."""
        return self.having(f"{CLAIM}.storageClassName", storage_class)

    def accessed(self, *modes: str) -> MirrorBuilder:
        """Set the access modes."""
        return self.having(f"{CLAIM}.accessModes", list(modes))

    def with_claims_labelled(self, labels: dict[str, Any]) -> MirrorBuilder:
        """Set the labels of the claims."""
        return self.having("spec.volumeClaimTemplate.metadata.labels", labels)

    def with_claims_annotated(self, annotations: dict[str, Any]) -> MirrorBuilder:
        """Set the annotations of the claims."""
        return self.having("spec.volumeClaimTemplate.metadata.annotations", annotations)

    def placing_caches(self, **settings: Any) -> MirrorBuilder:
        """Set fields of `spec.cache`."""
        return self.having("spec.cache", settings)

    def placing_agents(self, **settings: Any) -> MirrorBuilder:
        """Set fields of `spec.agent`."""
        return self.having("spec.agent", settings)

    def granted(self, amount: str) -> MirrorBuilder:
        """Set the granted storage in the status."""
        return self.having("status.storage", amount)

    def raw(self) -> Json:
        """Return the object as JSON."""
        return copy.deepcopy(self.document)


def a_mirror() -> MirrorBuilder:
    """Return the smallest valid mirror: `docker`, of quay.io."""
    return MirrorBuilder({"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror"}).named("docker").of("quay.io")
