"""Decide the host name of a mirror on the nodes: its default, and the rules that any such name obeys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names, reserved_names, upstream
from common.image_hosts import DEFAULT_PORTS, DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.upstream import Upstream

_PORT: Final = DEFAULT_PORTS["https"]  # the only port of a mirror


def default_of(upstream_url: str) -> str:
    """Return the default name for a valid upstreamUrl. An alias of Docker Hub keeps its spelling."""
    return names.default_masquerade(upstream.parse_literal(upstream_url).host)


def refusal_reason(
    name: str, registry: Upstream | None, additional: Iterable[Upstream], allowed: tuple[str, ...]
) -> str | None:
    """Return the reason against `name` for a mirror of these registries; None if it is allowed.

    `registry` is None if upstreamUrl is invalid. `allowed` are the domains of MASQUERADE_DOMAINS.
    """
    reason = reserved_names.refusal_reason(name, allowed)
    if reason is None and "." not in name:
        reason = "must have a dot, because names without a dot belong to nodes"
    reason = reason or next((_additional(name, each) for each in additional if name in each.own_names), None)
    return reason or (None if registry is None else _other_registry(name, registry))


def _additional(name: str, registry: Upstream) -> str:
    """Return the reason against a name of an additional upstream. Without `ns` it stands for the first upstream."""
    return (
        f"is a name of {registry.url}, an additional upstream, and images named {name}/... would come from"
        " spec.upstreamUrl; choose a name that no registry has"
    )


def _other_registry(name: str, registry: Upstream) -> str | None:
    """Return the reason against the name of another registry: nodes could not pull its images any more."""
    if name == registry.host and registry.port_in_use != _PORT:
        return (
            f"is the host of {registry.url}, but without that port it names https://{name}, another registry; choose a"
            " name that no registry has"
        )
    if name in _DOCKER_HUB and name not in registry.own_names:
        return "is a name of Docker Hub, and the upstream is another registry; choose a name that no registry has"
    return None


_DOCKER_HUB: Final = upstream.parse(DOCKER_HUB).own_names
