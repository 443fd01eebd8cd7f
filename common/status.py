"""Status of a RegistryMirror as the controller publishes it; here for the CRD's schema and for who reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from common.field_types import Quantity
from common.model import Part

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Condition(Part):
    """One aspect of the mirror's state, in the standard form of Kubernetes."""

    type: str = Field(
        max_length=316,
        description=(
            "Ready sums up the others: Accepted, CacheAvailable, UpstreamReachable, CredentialsAvailable,"
            " NodesConfigured, CertificateValid, StorageResized, and Reconciled where something once kept the"
            " controller from its work."
        ),
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        None, ge=0, description="Generation of the RegistryMirror that this condition was computed from."
    )
    last_transition_time: Timestamp = Field(description="When status last changed.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="The cause in one word of CamelCase, for programs.",
    )
    message: str = Field(max_length=32768, description="The cause in a sentence, and what to do about it.")


class Nodes(Part):
    """How many nodes point at the mirror."""

    desired: int = Field(description="Nodes that run the agent.")
    ready: int = Field(description="Nodes that are configured as they can be now.")


class RegistryMirrorStatus(Part):
    """What the controller found. Written by the controller alone."""

    observed_generation: int | None = Field(None, description="Generation that the controller has acted on.")
    upstream: str | None = Field(None, description="The registry that is really asked, as a URL.")
    masquerade_url: str | None = Field(None, description="Host name under which nodes reach the mirror.")
    cluster_ips: list[str] | None = Field(
        None, alias="clusterIPs", description="Addresses of the mirror's Service, the primary one first."
    )
    storage: Quantity | None = Field(None, description="Storage that every claim has been granted.")
    replicas: int | None = Field(None, description="Cache pods that exist.")
    ready_replicas: int | None = Field(None, description="Cache pods that can serve pulls.")
    nodes: Nodes | None = Field(None, description="Nodes that point at the mirror.")
    conditions: list[Condition] | None = Field(
        None,
        description="State of the mirror, one entry an aspect.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
