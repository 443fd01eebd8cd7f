"""Builders of RegistryMirrors, which read as what they are: `a_mirror().named("docker").of("quay.io").storing("20Gi")`.

Each adjective gives a new builder and leaves the old one as it was; `raw()` gives the JSON, a copy for its taker.
Nothing is judged: a wrong mirror is built as easily as a right one.
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
    """A RegistryMirror in the making."""

    document: Json

    def having(self, path: str, value: Any) -> MirrorBuilder:
        """With `value` at a path such as `spec.ttl`; the objects on the way are made where they are missing."""
        document = copy.deepcopy(self.document)
        *parents, last = path.split(".")
        node = document
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = copy.deepcopy(value)
        return MirrorBuilder(document)

    def without(self, path: str) -> MirrorBuilder:
        """With nothing at a path."""
        document = copy.deepcopy(self.document)
        *parents, last = path.split(".")
        node = document
        for key in parents:
            node = node.get(key, {})
        node.pop(last, None)
        return MirrorBuilder(document)

    def named(self, name: str) -> MirrorBuilder:
        """Under that name."""
        return self.having("metadata.name", name)

    def labelled(self, labels: dict[str, str]) -> MirrorBuilder:
        """With exactly these labels of its own."""
        return self.having("metadata.labels", labels)

    def of(self, upstream_url: str) -> MirrorBuilder:
        """Of that upstream."""
        return self.having("spec.upstreamUrl", upstream_url)

    def known_as(self, masquerade_url: str) -> MirrorBuilder:
        """Reached by the nodes under that name."""
        return self.having("spec.masqueradeUrl", masquerade_url)

    def logging_in_with(self, secret: str) -> MirrorBuilder:
        """With the credentials of that Secret."""
        return self.having("spec.credentialsSecret", secret)

    def replicated(self, times: int) -> MirrorBuilder:
        """With so many cache pods."""
        return self.having("spec.replicas", times)

    def keeping(self, ttl: str) -> MirrorBuilder:
        """Keeping each blob that long."""
        return self.having("spec.ttl", ttl)

    def storing(self, amount: str | int) -> MirrorBuilder:
        """With so much storage for each cache pod."""
        return self.having(f"{CLAIM}.resources.requests.storage", amount)

    def limited_to(self, amount: str | int) -> MirrorBuilder:
        """With no more storage than that for each cache pod."""
        return self.having(f"{CLAIM}.resources.limits.storage", amount)

    def on_class(self, storage_class: str) -> MirrorBuilder:
        """On volumes of that StorageClass."""
        return self.having(f"{CLAIM}.storageClassName", storage_class)

    def accessed(self, *modes: str) -> MirrorBuilder:
        """On volumes with these access modes."""
        return self.having(f"{CLAIM}.accessModes", list(modes))

    def with_claims_labelled(self, labels: dict[str, Any]) -> MirrorBuilder:
        """With these labels on its claims."""
        return self.having("spec.volumeClaimTemplate.metadata.labels", labels)

    def with_claims_annotated(self, annotations: dict[str, Any]) -> MirrorBuilder:
        """With these annotations on its claims."""
        return self.having("spec.volumeClaimTemplate.metadata.annotations", annotations)

    def granted(self, amount: str) -> MirrorBuilder:
        """As it stands after the controller has seen claims of that size bound."""
        return self.having("status.storage", amount)

    def raw(self) -> Json:
        """The object as JSON."""
        return copy.deepcopy(self.document)


def a_mirror() -> MirrorBuilder:
    """The smallest valid mirror: `docker`, of quay.io."""
    return MirrorBuilder({"apiVersion": "k8s.osp.tech/v1", "kind": "RegistryMirror"}).named("docker").of("quay.io")
