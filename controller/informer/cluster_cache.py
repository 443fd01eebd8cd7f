"""Hold a store for each kind, and enqueue the mirrors affected by a change."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from common.upstream_entries import upstream_entries
from controller.informer.host_claims import HostClaims, image_hosts_of, registry_hosts_of
from controller.informer.store import Store, without_managed_fields
from controller.model.mirror import parse_mirror
from controller.objects import docker_config, resources, well_known
from controller.objects.ownership import controller_of
from controller.objects.well_known import (
    ADMISSION_KEY,
    BUNDLE_FILE,
    MIRRORS_CA,
    WEBHOOK_CA,
    WEBHOOK_CERTIFICATE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json
    from controller.objects.resources import Kind

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_SECRET_KEYS: Final = frozenset(
    {
        docker_config.KEY,
        well_known.USERNAME,
        well_known.PASSWORD,
        well_known.CONFIGURATION,
        well_known.CERTIFICATE,
        well_known.KEY,
        well_known.CA,
    }
)


def _trimmed(current: Json) -> Json:
    without_managed_fields(current)
    dict_at(current, "metadata", "annotations").pop(_LAST_APPLIED, None)
    return current


def _secret(current: Json) -> Json:
    """Drop the keys that no mirror uses; other applications' Secrets share the namespace."""
    _trimmed(current)
    data = current.get("data") or {}
    return {**current, "data": {key: value for key, value in data.items() if _is_used(key)}}


def _is_used(key: str) -> bool:
    return key in _SECRET_KEYS or key.endswith(well_known.CREDENTIALS_SUFFIXES)


def _trimmed_child(current: Json) -> Json | None:
    return without_managed_fields(current) if current["metadata"]["name"].startswith(names.PREFIX) else None


def _trimmed_claim(current: Json) -> Json | None:
    has_prefix = current["metadata"]["name"].startswith(f"{names.CLAIM_TEMPLATE}-{names.PREFIX}")
    return without_managed_fields(current) if has_prefix else None


def _trimmed_cache_pod(current: Json) -> Json:
    """Return the mirror and the address of a cache pod; no address while the pod starts or ends."""
    metadata = current["metadata"]
    found = {key: metadata[key] for key in ("name", "resourceVersion")}
    address = None if "deletionTimestamp" in metadata else dict_at(current, "status").get("podIP")
    return {"metadata": {**found, "labels": metadata.get("labels")}, "status": {"podIP": address}}


@dataclass(slots=True)
class ClusterCache:
    """Hold the stores and data derived from them.

    `enqueue` gets the name of each affected mirror. `shared_secrets` affect all mirrors. `ca_failure` is the
    last error if the CA of the mirrors cannot be created.
    """

    enqueue: Callable[[str], None]
    shared_secrets: frozenset[str] = frozenset()
    masquerade_domains: tuple[str, ...] = ()
    credentials_of: dict[str, set[str]] = field(default_factory=dict)
    host_claims: HostClaims = field(default_factory=HostClaims)
    images: HostClaims = field(default_factory=lambda: HostClaims(image_hosts_of))
    registries: HostClaims = field(default_factory=lambda: HostClaims(registry_hosts_of))
    mirrors: Store = field(default_factory=lambda: Store(_trimmed))
    secrets: Store = field(default_factory=lambda: Store(_secret))
    bundles: Store = field(default_factory=Store)
    claims: Store = field(default_factory=lambda: Store(_trimmed_claim))
    cache_pods: Store = field(default_factory=lambda: Store(_trimmed_cache_pod))
    leases: Store = field(default_factory=Store)
    mutating: Store = field(default_factory=Store)
    validating: Store = field(default_factory=Store)
    children: dict[Kind, Store] = field(default_factory=dict)
    ca_failure: str | None = None

    def __post_init__(self) -> None:
        self.children = {kind: Store(_trimmed_child) for kind in resources.CHILDREN if kind is not resources.SECRET}
        self.children[resources.SECRET] = self.secrets
        for kind, store in self.children.items():
            store.listen(lambda name, *_, kind=kind: self._child_changed(kind, name))
        self.children[resources.DAEMON_SET].listen(self._daemon_set_changed)
        self.mirrors.listen(self._mirror_changed)
        self.secrets.listen(lambda name, *_: self._secret_changed(name))
        self.bundles.listen(lambda *_: self.enqueue_all())
        self.claims.listen(lambda name, *_: self._claim_changed(name))
        for store in (self.mutating, self.validating):
            store.listen(lambda *_: self.enqueue(ADMISSION_KEY))

    def enqueue_all(self) -> None:
        """Enqueue all mirrors."""
        for name in self.mirrors:
            self.enqueue(name)

    def report_ca_failure(self, error: str) -> None:
        """Remember the error for the status of all mirrors."""
        if error != self.ca_failure:
            self.ca_failure = error
            self.enqueue_all()

    def _mirror_changed(self, name: str, _: Json | None, after: Json | None) -> None:
        self.enqueue(name)
        self.credentials_of.pop(name, None)
        named = [each.get("credentialsSecret") for _, each in upstream_entries(dict_at(after, "spec"))]
        if secrets := {secret for secret in named if isinstance(secret, str)}:
            self.credentials_of[name] = secrets
        for rival in self._rivals(name, after):
            self.enqueue(rival)

    def _rivals(self, name: str, after: Json | None) -> set[str]:
        """Return the other mirrors whose host claims this change may affect."""
        holder, registries = self.masquerade_holder(name), {*self.registries.hosts(name)}
        claim = self._claim(after)
        rivals = {*self.host_claims.update(name, claim)}
        self.registries.update(name, claim)
        for host in registries.symmetric_difference(self.registries.hosts(name)):
            rivals |= {*self.host_claims.claimants(host.removesuffix(":"))}
        # A mirror that gains or loses its host name gains or loses the images pulled through it.
        moved = rivals if self.masquerade_holder(name) == holder else {name, *rivals}
        affected = [
            other for each in moved for host in self.images.hosts(each) for other in self.images.claimants(host)
        ]
        return {*rivals, *affected, *self.images.update(name, claim)} - {name}

    def _claim(self, obj: Json | None) -> Json | None:
        """Return the mirror, or None if its spec is invalid and its DaemonSet does not exist."""
        if obj is None or not isinstance(parse_mirror(obj, self.masquerade_domains), list):
            return obj
        daemon_set = self.children[resources.DAEMON_SET].get(names.object_name(obj["metadata"]["name"]))
        owner = controller_of(daemon_set) if daemon_set else None
        return obj if owner and owner["uid"] == obj["metadata"]["uid"] else None

    def _daemon_set_changed(self, child: str, before: Json | None, after: Json | None) -> None:
        mirror = mirror_of_child(resources.DAEMON_SET, child)
        if mirror is not None and mirror in self.mirrors and (before is None) != (after is None):
            for rival in self._rivals(mirror, self.mirrors.get(mirror)):
                self.enqueue(rival)

    def masquerade_holder(self, mirror: str) -> str | None:
        """Return the other mirror that keeps the host name of this one off the nodes, or None."""
        entitled = [each for host in self.host_claims.hosts(mirror) for each in self.registries.claimants(host)]
        return self.registry_holder(mirror) or self.host_claims.holder(mirror, entitled)

    def registry_holder(self, mirror: str) -> str | None:
        """Return the oldest other mirror with an upstream that this mirror's host name hides from the nodes, or None.

        A mirror may have the name of its own upstream. It then serves that registry, but none at another port.
        """
        for host in self.host_claims.hosts(mirror):
            owners = self.registries.claimants(host)
            hidden = [*([] if mirror in owners else owners), *self.registries.claimants(f"{host}:")]
            return next((each for each in hidden if each != mirror), None)
        return None

    def images_holders(self, mirror: str) -> dict[str, str]:
        """Return the older mirror that serves the images of a host, for each such host of this mirror.

        Mirrors without their host name on the nodes do not count.
        """
        found = {}
        for host in self.images.hosts(mirror):
            claimants = self.images.claimants(host)
            first = next((each for each in claimants if self.masquerade_holder(each) is None), mirror)
            if first != mirror:
                found[host] = first
        return found

    def _child_changed(self, kind: Kind, name: str) -> None:
        mirror = mirror_of_child(kind, name)
        if mirror is not None and mirror in self.mirrors:
            self.enqueue(mirror)

    def _claim_changed(self, name: str) -> None:
        mirror = name.removeprefix(f"{names.CLAIM_TEMPLATE}-{names.PREFIX}").rpartition("-")[0]
        if mirror in self.mirrors:
            self.enqueue(mirror)

    def _secret_changed(self, name: str) -> None:
        if name in (MIRRORS_CA, WEBHOOK_CA, WEBHOOK_CERTIFICATE):
            self.enqueue(ADMISSION_KEY)
        if name == MIRRORS_CA or name in self.shared_secrets:
            self.enqueue_all()
        for mirror, secrets in self.credentials_of.items():
            if name in secrets:
                self.enqueue(mirror)

    def secret_text(self, name: str, key: str) -> str | None:
        """Return a value of a Secret as text, or None without such a Secret or key, or if it is not UTF-8."""
        return text_of(self.secrets.get(name), key)

    def bundle(self, name: str) -> str | None:
        """Return the CA bundle in a ConfigMap, or None without such a ConfigMap or key."""
        content = dict_at(self.bundles.get(name), "data").get(BUNDLE_FILE)
        return content if isinstance(content, str) else None


def text_of(secret: Json | None, key: str) -> str | None:
    """Return a value of a Secret as text, or None if it is missing or not UTF-8."""
    encoded = dict_at(secret, "data").get(key)
    try:
        return None if encoded is None else base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def mirror_of_child(kind: Kind, name: str) -> str | None:
    """Return the mirror whose child has this name, or None for another name."""
    if not name.startswith(names.PREFIX):
        return None
    mirror = name.removeprefix(names.PREFIX)
    return mirror.removesuffix("-headless") if kind is resources.SERVICE else mirror
