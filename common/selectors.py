"""Define selectors of objects by labels, and of nodes, as in the API of Kubernetes."""

from __future__ import annotations

import re
from typing import Final, Self

from pydantic import Field, model_validator

from common.field_types import LabelKey, LabelValue, Operator
from common.part import Part
from common.pod_field_types import NodeField, NodeFieldOperator, NodeName, NodeOperator

_SET: Final = ("In", "NotIn")
_ORDER: Final = ("Gt", "Lt")
_INTEGER: Final = re.compile(r"[0-9]{1,18}")  # a label value has no sign


def check_values(operator: str, values: list[str] | None) -> None:
    """Raise ValueError if the operator does not take these values."""
    if operator in _SET and not values:
        raise ValueError(f"must have at least one of values with operator {operator}")
    if operator in _ORDER and (len(values or ()) != 1 or not _INTEGER.fullmatch((values or [""])[0])):
        raise ValueError(f"must have exactly one integer in values with operator {operator}")
    if operator not in (*_SET, *_ORDER) and values:
        raise ValueError(f"must have no values with operator {operator}; remove them")


class LabelSelectorRequirement(Part):
    """One requirement on labels."""

    key: LabelKey = Field(description="Label key of the requirement.")
    operator: Operator = Field(description="One of In, NotIn, Exists and DoesNotExist.")
    values: list[LabelValue] | None = Field(None, description="Values of In and NotIn.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_values(self.operator, self.values)
        return self


class LabelSelector(Part):
    """Selects objects by their labels."""

    match_labels: dict[LabelKey, LabelValue] | None = Field(None, description="Labels that an object must have.")
    match_expressions: list[LabelSelectorRequirement] | None = Field(
        None, description="Requirements that the labels of an object must meet."
    )


class NodeSelectorRequirement(Part):
    """One requirement on the labels of a node."""

    key: LabelKey = Field(description="Label key of the requirement.")
    operator: NodeOperator = Field(description="One of In, NotIn, Exists, DoesNotExist, Gt and Lt.")
    values: list[LabelValue] | None = Field(None, description="Values of In and NotIn, or one integer for Gt and Lt.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_values(self.operator, self.values)
        return self


class NodeFieldRequirement(Part):
    """One requirement on the name of a node."""

    key: NodeField = Field(description="Always metadata.name.")
    operator: NodeFieldOperator = Field(description="One of In and NotIn.")
    values: list[NodeName] = Field(description="Name of one node.")

    @model_validator(mode="after")
    def _single(self) -> Self:
        if len(self.values) != 1:
            raise ValueError("must have the name of exactly one node in values; use one term for each node")
        return self


class NodeSelectorTerm(Part):
    """Requirements that a node must all meet. An empty term matches no node."""

    match_expressions: list[NodeSelectorRequirement] | None = Field(
        None, description="Requirements on the labels of a node."
    )
    match_fields: list[NodeFieldRequirement] | None = Field(None, description="Requirements on the name of a node.")


class NodeSelector(Part):
    """Matches a node if one of its terms does."""

    node_selector_terms: list[NodeSelectorTerm] = Field(description="Terms, of which a node must match one.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.node_selector_terms:
            raise ValueError("must have at least one term in nodeSelectorTerms, or be removed")
        return self
