"""Warn about valid settings with surprising effects. kubectl prints admission warnings beside its own output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import quantity, upstream

if TYPE_CHECKING:
    from common.model import RegistryMirrorSpec, UpstreamSpec
    from common.placement import AgentPods, CachePods

_SMALL_STORAGE: Final = 100 * 2**20  # bytes: most images are larger
_SMALL_MEMORY: Final = 32 * 2**20  # bytes: what an agent needs; a cache needs more
# The webhook refuses Docker Hub's names for another upstream.
_PUBLIC: Final = frozenset({"quay.io", "ghcr.io", "gcr.io", "registry.k8s.io", "public.ecr.aws", "mcr.microsoft.com"})
# Domains and hosts of tokens and image content. GitLab issues the tokens of registry.gitlab.com at gitlab.com.
_SERVICES: Final = ("docker.io", "docker.com", "gitlab.com", "pkg-containers.githubusercontent.com")
_UNUSED: Final = "local.docker.io"  # the name in the examples; Docker Hub has no such host
_SYSTEM_CLASSES: Final = ("system-node-critical", "system-cluster-critical")


def warnings_for(spec: RegistryMirrorSpec) -> list[str]:
    """Return the warnings for a valid spec."""
    warnings = _upstream_warnings("spec", spec.upstreams[0])
    if spec.masquerade_url in upstream.parse(spec.upstream_url).own_names:
        warnings.append(
            "spec.masqueradeUrl: is the upstream's own name, so all programs on the nodes reach the mirror instead"
            " of the upstream while the mirror answers; choose another name"
        )
    elif spec.masquerade_url in _PUBLIC:
        warnings.append(
            "spec.masqueradeUrl: is the name of another registry, so nodes get its images from the mirror's upstream;"
            " choose a name that no registry has"
        )
    elif spec.masquerade_url and _is_service(spec.masquerade_url):
        warnings.append(
            "spec.masqueradeUrl: may be a host from which registries serve tokens or content, so nodes reach the mirror"
            " instead of it; choose a name that no registry has"
        )
    for number, each in enumerate(spec.additional_upstreams or []):
        warnings += _upstream_warnings(f"spec.additionalUpstreams[{number}]", each)
    warnings += _storage_warnings(spec)
    if spec.cache is not None:
        warnings += _pod_warnings("spec.cache", spec.cache) + _toleration_warnings(spec.cache)
    return warnings + _pod_warnings("spec.agent", spec.agent) if spec.agent is not None else warnings


def _is_service(name: str) -> bool:
    """Return True for a name at or below one of `_SERVICES`."""
    return name != _UNUSED and f".{name}".endswith(tuple(f".{each}" for each in _SERVICES))


def _upstream_warnings(path: str, entry: UpstreamSpec) -> list[str]:
    """Return the warnings for one upstream; `path` is that of its fields."""
    literal = upstream.parse_literal(entry.upstream_url)
    parsed = upstream.parse(entry.upstream_url)
    found = [
        (
            parsed != literal,
            (
                f"{path}.upstreamUrl: {literal.host} is not a registry; the mirror uses {parsed.url}"
                f" for images named {parsed.image_host}/..."
            ),
        ),
        (
            parsed.scheme == "http",
            f"{path}.upstreamUrl: http:// sends images"
            + (f" and the credentials of {path}.credentialsSecret" if entry.credentials_secret else "")
            + " unencrypted; use https:// if the registry supports it",
        ),
        (
            parsed == literal and _authority(entry.upstream_url) not in parsed.image_hosts,
            (
                f"{path}.upstreamUrl: images named {_authority(entry.upstream_url)}/... do not use the mirror, because"
                f" nodes compare names letter by letter; name them {parsed.image_host}/..."
            ),
        ),
        (
            entry.credentials_secret is not None,
            (
                f"{path}.credentialsSecret: every pod of the cluster can pull all private images that these credentials"
                " can read; use an account with access to shared images only"
            ),
        ),
    ]
    return [warning for applies, warning in found if applies]


def _authority(upstream_url: str) -> str:
    """Return `host[:port]` as the user wrote it."""
    return upstream_url.partition("://")[2].removesuffix("/") or upstream_url.removesuffix("/")


def _storage_warnings(spec: RegistryMirrorSpec) -> list[str]:
    claim = spec.volume_claim_template and spec.volume_claim_template.spec
    requests = (claim and claim.resources and claim.resources.requests) or {}
    path = "spec.volumeClaimTemplate.spec.resources.requests.storage"
    return [
        f"{path}: {amount} is too small for most images; 20Gi holds about 50 images"
        for amount in requests.values()
        if quantity.parse(amount) < _SMALL_STORAGE
    ]


def _pod_warnings(path: str, pods: AgentPods | CachePods) -> list[str]:
    limit = ((pods.resources and pods.resources.limits) or {}).get("memory", "0")
    found = []
    if 0 < quantity.parse(limit) < _SMALL_MEMORY:
        found.append(
            f"{path}.resources.limits.memory: {limit} is too small for the program, so its pods may not start; leave it"
            " out for the default"
        )
    if pods.priority_class_name in _SYSTEM_CLASSES:
        found.append(
            f"{path}.priorityClassName: {pods.priority_class_name} evicts pods of other applications from full nodes;"
            " use a class with preemptionPolicy: Never if it must not"
        )
    return found


def _toleration_warnings(cache: CachePods) -> list[str]:
    return [
        f"spec.cache.tolerations[{number}]: tolerates every taint, so cache pods stay on nodes that are down and are"
        " not replaced; name the key of a taint"
        for number, each in enumerate(cache.tolerations or [])
        if each.key is None and each.effect in (None, "NoExecute") and each.toleration_seconds is None
    ]
