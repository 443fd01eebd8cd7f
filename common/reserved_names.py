"""Refuse host names that nodes or the cluster need for themselves."""

from __future__ import annotations

from typing import Final

# Names of the node and of the API server. An entry in /etc/hosts would hijack them. Other names of the API server are
# unknown here: MASQUERADE_DOMAINS excludes them.
RESERVED: Final = (
    *("localhost", "localdomain", "localdomain4", "localdomain6"),
    *("kubernetes", "kubernetes.default", "svc", "cluster.local"),
    # Tools for local clusters write these names of the machine and the API server into the hosts files of nodes.
    *("docker.internal", "minikube.internal", "k3d.internal", "lima.internal", "containers.internal"),
    "metadata.google.internal",  # serves the identity and credentials of a machine
)


def is_within(name: str, domain: str) -> bool:
    """Return True if `name` is `domain` or a name below it."""
    return name == domain or name.endswith(f".{domain}")


def refusal_reason(name: str, allowed: tuple[str, ...]) -> str | None:
    """Return the reason against `name` as host name of a mirror; None if it is allowed.

    `allowed` are the domains of MASQUERADE_DOMAINS. If empty, all names are allowed that are not reserved.
    """
    reserved = next((domain for domain in RESERVED if is_within(name, domain)), None)
    if reserved:
        return f"is reserved ({reserved}), because nodes need it to reach themselves or the cluster"
    if allowed and not any(is_within(name, domain) for domain in allowed):
        return f"is outside the domains that the administrator allows: {', '.join(allowed)}"
    return None
