"""Define the affinity of pods, as in the API of Kubernetes."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from common.field_types import LabelKey
from common.part import Part
from common.pod_field_types import NamespaceName, Weight
from common.selectors import LabelSelector, NodeSelector, NodeSelectorTerm


class PreferredNodes(Part):
    """Nodes to prefer."""

    weight: Weight = Field(description="Weight of the preference, 1 to 100.")
    preference: NodeSelectorTerm = Field(description="Requirements on the preferred nodes.")


class NodeAffinity(Part):
    """Requirements and preferences for nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="Nodes on which the pods may run."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredNodes] | None = Field(
        None, description="Nodes to prefer, each with a weight."
    )


class PodAffinityTerm(Part):
    """Pods whose topology domain counts."""

    label_selector: LabelSelector | None = Field(
        None, description="Labels of these pods. Without it, no pod matches; {} matches all."
    )
    namespaces: list[NamespaceName] | None = Field(
        None, description="Namespaces of these pods. Default: the namespace of the mirrors."
    )
    topology_key: LabelKey = Field(
        description="Node label whose value names the topology domain. Example: kubernetes.io/hostname."
    )
    namespace_selector: LabelSelector | None = Field(
        None, description="Labels of further namespaces; {} selects all namespaces."
    )
    match_label_keys: list[LabelKey] | None = Field(
        None, description="Label keys whose values must equal those of the pod to place."
    )
    mismatch_label_keys: list[LabelKey] | None = Field(
        None, description="Label keys whose values must differ from those of the pod to place."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys, others = self.match_label_keys or [], self.mismatch_label_keys or []
        if (keys or others) and self.label_selector is None:
            raise ValueError("must have a labelSelector with matchLabelKeys or mismatchLabelKeys")
        if both := sorted({*keys} & {*others}):
            raise ValueError(f"must not have {both[0]} in both matchLabelKeys and mismatchLabelKeys; remove one")
        # The API server adds each of matchLabelKeys to the selector of a new pod, and refuses a repeated key.
        if repeated := sorted(_keys_of(self.label_selector) & {*keys}):
            raise ValueError(f"must not have {repeated[0]} in both labelSelector and matchLabelKeys; remove one")
        return self


def _keys_of(selector: LabelSelector | None) -> set[str]:
    """Return the keys of all requirements of a selector."""
    if selector is None:
        return set()
    return {each.key for each in selector.match_expressions or []} | set(selector.match_labels or {})


class WeightedPodAffinityTerm(Part):
    """Pods to prefer, or to avoid."""

    weight: Weight = Field(description="Weight of the preference, 1 to 100.")
    pod_affinity_term: PodAffinityTerm = Field(description="Pods whose topology domain counts.")


class PodAffinity(Part):
    """Requirements and preferences for the neighbourhood of other pods."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] | None = Field(
        None, description="Terms that must all hold."
    )
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] | None = Field(
        None, description="Terms to prefer, each with a weight."
    )


class Affinity(Part):
    """Nodes, and the neighbourhood of other pods, to choose or to avoid."""

    node_affinity: NodeAffinity | None = Field(None, description="Nodes to choose.")
    pod_affinity: PodAffinity | None = Field(None, description="Pods whose neighbourhood to choose.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Pods whose neighbourhood to avoid.")
