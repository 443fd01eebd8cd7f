"""Define the status of a RegistryMirror for the CRD's schema."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, WithJsonSchema

from common.field_types import Quantity
from common.part import Part

# observedGeneration of a mirror that the controller has not seen yet.
UNOBSERVED: Final = -1

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Condition(Part):
    """One aspect of the mirror's state, as metav1.Condition."""

    type: str = Field(
        max_length=316,
        description=(
            "Ready summarizes the others: Accepted, CacheAvailable, UpstreamReachable, CredentialsAvailable,"
            " NodesConfigured, CertificateValid, StorageResized and Reconciled. Reconciled exists only after an error,"
            " Stalled only while a user has to act."
        ),
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        None, ge=0, description="Generation of the RegistryMirror that this condition was computed from."
    )
    last_transition_time: Timestamp = Field(description="Time of the last change of status.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Cause as one CamelCase word, for programs.",
    )
    message: str = Field(max_length=32768, description="Cause in a sentence, and the fix.")


class Nodes(Part):
    """Number of nodes that use the mirror."""

    desired: int = Field(description="Nodes that run the node agent, or will run it.")
    ready: int = Field(description="Nodes with a complete configuration.")
    unschedulable: int | None = Field(
        None, description="Further nodes whose agent cannot be scheduled. The condition NodesConfigured names them."
    )
    pulling: int | None = Field(
        None,
        description=(
            "Nodes that pulled through the mirror in the last 24 hours."
            " Absent if addresses of clients do not tell their nodes."
        ),
    )


class Summary(Part):
    """Counts as `kubectl get` shows them."""

    cache: str = Field(description="Cache pods that can serve pulls, of those wanted, such as 2/2.")
    nodes: str = Field(description="Nodes that use the mirror, of those that run an agent, such as 3/3.")


class RegistryMirrorStatus(Part):
    """State of the mirror. Only the controller writes it."""

    observed_generation: int | None = Field(
        None, description="Generation that the controller processed last; -1 before the first time."
    )
    upstream: str | None = Field(None, description="URL of the mirrored registry.")
    masquerade_url: str | None = Field(None, description="Host name of the mirror on the nodes.")
    cluster_ips: list[str] | None = Field(
        None, alias="clusterIPs", description="Addresses of the mirror's Service. The primary one is first."
    )
    storage: Quantity | None = Field(None, description="Storage that all claims have at least.")
    replicas: int | None = Field(None, description="Cache pods that exist.")
    ready_replicas: int | None = Field(None, description="Cache pods that can serve pulls.")
    nodes: Nodes | None = Field(None, description="Number of nodes that use the mirror.")
    summary: Summary | None = Field(None, description="Counts of cache pods and nodes, for people.")
    conditions: list[Condition] | None = Field(
        None,
        description="State of the mirror, one entry per aspect.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
