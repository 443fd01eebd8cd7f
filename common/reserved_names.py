"""Which host names a mirror may take: never one that the node or the cluster needs for itself."""

from __future__ import annotations

from typing import Final

# What nodes resolve to reach themselves and the API server; an entry in their hosts file would take it over. An API
# server that is reached by a name of its own cannot be known here: MASQUERADE_DOMAINS is for that.
RESERVED: Final = (
    *("localhost", "localdomain", "localdomain4", "localdomain6"),
    *("kubernetes", "kubernetes.default", "svc", "cluster.local"),
    # The machine and the API server, as what makes clusters on one machine writes them into the nodes' hosts files.
    *("docker.internal", "minikube.internal", "k3d.internal", "lima.internal", "containers.internal"),
    "metadata.google.internal",  # in the hosts file of each machine there: who it is, and its credentials
)


def is_within(name: str, domain: str) -> bool:
    """Whether `name` is `domain` or stands below it."""
    return name == domain or name.endswith(f".{domain}")


def is_local(name: str) -> bool:
    """Whether `name` is one label: nodes, their neighbours and the API servers of small clusters are called so."""
    return "." not in name


def refusal_reason(name: str, allowed: tuple[str, ...]) -> str | None:
    """The rest of a sentence saying why no mirror may be called `name`; None where one may.

    `allowed` are the domains that MASQUERADE_DOMAINS names; empty means any that is not reserved.
    """
    reserved = next((domain for domain in RESERVED if is_within(name, domain)), None)
    if reserved:
        return f"is reserved ({reserved}): nodes need it to reach themselves or the cluster"
    if allowed and not any(is_within(name, domain) for domain in allowed):
        return f"is not within the domains that this cluster's administrator allows: {', '.join(allowed)}"
    return None
