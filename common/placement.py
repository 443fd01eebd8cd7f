"""Define where the pods of a mirror run, with which resources, labels and annotations."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from common import quantity
from common.affinity import Affinity
from common.field_types import LabelKey, LabelValue
from common.part import Part
from common.pod_field_types import (
    Amount,
    ContainerResource,
    PodAnnotations,
    PodLabels,
    PriorityClass,
    Seconds,
    TaintEffect,
    TolerationOperator,
    TrafficDistribution,
)


class ContainerResources(Part):
    """Requests and limits of a container. They replace the defaults as a whole."""

    requests: dict[ContainerResource, Amount] | None = Field(
        None, description="Reserved amounts of cpu, memory and ephemeral-storage. Example: {cpu: 50m, memory: 64Mi}."
    )
    limits: dict[ContainerResource, Amount] | None = Field(
        None, description="Highest amounts of cpu, memory and ephemeral-storage. Example: {memory: 512Mi}."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        limits = self.limits or {}
        for name, amount in (self.requests or {}).items():
            if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
                raise ValueError(
                    f"must not request more {name} than its limit ({amount}, {limits[name]}); raise the limit"
                )
        return self


class Toleration(Part):
    """One kind of taint that nodes of the cache pods may have."""

    key: LabelKey | None = Field(None, description="Key of the taint. Without it, all keys match; see operator.")
    operator: TolerationOperator | None = Field(
        None, description="Exists matches any value, Equal the given one. Without a key only Exists. Default: Equal."
    )
    value: LabelValue | None = Field(None, description="Value of the taint, with the operator Equal.")
    effect: TaintEffect | None = Field(
        None, description="Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Default: all effects."
    )
    toleration_seconds: Seconds | None = Field(
        None, description="Time after which a taint with the effect NoExecute evicts the pod. Default: never."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key is None and self.operator != "Exists":
            raise ValueError("must have a key, or operator: Exists to tolerate all taints")
        if self.operator == "Exists" and self.value:
            raise ValueError("must have no value with operator: Exists; remove it, or write operator: Equal")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("must have effect: NoExecute with tolerationSeconds; set it, or remove tolerationSeconds")
        return self


class PodMetadata(Part):
    """Labels and annotations of the pods of one kind."""

    labels: PodLabels | None = Field(
        None,
        description="Further labels of the pods. Those of the controller cannot be set. Example: {team: platform}.",
    )
    annotations: PodAnnotations | None = Field(None, description="Annotations of the pods.")


class AgentPods(PodMetadata):
    """Resources and metadata of the node agents."""

    resources: ContainerResources | None = Field(
        None,
        description=(
            "Requests and limits of an agent. They replace the default as a whole. Default: {requests: {cpu: 5m,"
            " memory: 32Mi}, limits: {memory: 128Mi}}."
        ),
    )
    priority_class_name: PriorityClass | None = Field(
        None,
        description="PriorityClass of the agents, which must exist. Default: HOSTESS_PRIORITY_CLASS of the controller.",
    )


class CachePods(PodMetadata):
    """Nodes, resources and metadata of the cache pods. Labels and annotations also apply to their Service."""

    node_selector: dict[LabelKey, LabelValue] | None = Field(
        None, description="Labels that the nodes of cache pods must have. Example: {node-role.kubernetes.io/infra: ''}."
    )
    tolerations: list[Toleration] | None = Field(None, description="Taints that the nodes of cache pods may have.")
    affinity: Affinity | None = Field(
        None, description="Nodes, and the neighbourhood of other pods, that cache pods need, prefer or avoid."
    )
    priority_class_name: PriorityClass | None = Field(
        None,
        description="PriorityClass of the cache pods, which must exist. Default: the class of the mirror's agents.",
    )
    resources: ContainerResources | None = Field(
        None,
        description=(
            "Requests and limits of a cache. They replace the default as a whole. Default: {requests: {cpu: 50m,"
            " memory: 64Mi}, limits: {memory: 512Mi}}."
        ),
    )
    traffic_distribution: TrafficDistribution | None = Field(
        None,
        description=(
            "Cache pods that a node prefers. PreferClose prefers those of its zone; Kubernetes 1.34 also has"
            " PreferSameZone, which means the same, and PreferSameNode. Default: none."
        ),
    )
