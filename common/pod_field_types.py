"""Define the types of fields about pods and nodes, each with its rule as code and as schema.

The API server refuses wrong values of these fields later, in an object of the mirror.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from common import names, quantity
from common.field_types import (
    DNS_LABEL,
    FORBIDDEN,
    INT_OR_STRING,
    AnnotationKey,
    LabelKey,
    LabelValue,
    Quantity,
    string_schema,
)

_OWN_LABELS: Final = (names.APP_LABEL, names.MIRROR_LABEL, names.COMPONENT_LABEL)
# The label in the selectors of webhook and controller, with its values in deploy/.
_PROGRAM_LABEL: Final = "app.kubernetes.io/name"
_PROGRAMS: Final = ("registrymirror-webhook", "registrymirror-controller")
# Older annotations, which take the seccomp or AppArmor profile off a container.
_CONFINEMENT: Final = ("container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/")
_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
_ANNOTATIONS_MAX: Final = 2**18 - 2**12  # bytes: the limit of the API server, less room for the controller's own
_HEAVIEST: Final = 100
_INT32_MAX: Final = 2**31 - 1


def _namespace(text: str) -> str:
    if not names.is_dns_label(text):
        raise ValueError("must be the name of a namespace: a-z, 0-9 and inner hyphens, at most 63 characters")
    return text


def _node_name(text: str) -> str:
    if not names.is_object_name(text):
        raise ValueError("must be the name of a node: a-z, 0-9, inner hyphens and dots")
    return text


def _priority_class(text: str) -> str:
    if not names.is_object_name(text):
        raise ValueError(
            "must be the name of a PriorityClass: a-z, 0-9, inner hyphens and dots; remove it for the default"
        )
    return text


def _weight(value: int) -> int:
    if not 1 <= value <= _HEAVIEST:
        raise ValueError(f"must be an integer from 1 to {_HEAVIEST}")
    return value


def _seconds(value: int) -> int:
    if not 0 <= value <= _INT32_MAX:
        raise ValueError("must be a number of seconds, 0 or more")
    return value


def _amount(value: str) -> str:
    if quantity.parse(value) < 0:
        raise ValueError("must not be negative")
    return value


def _resource(name: str) -> str:
    if name not in _RESOURCES:
        raise PydanticCustomError(FORBIDDEN, 'only "cpu", "memory" and "ephemeral-storage" can be set; remove this one')
    return name


def _free_key(key: str) -> str:
    if key in _OWN_LABELS or key.lower().startswith(f"{names.GROUP}/"):
        raise PydanticCustomError(FORBIDDEN, "the controller sets this key itself; remove it, or use another key")
    return key


def _free_annotation(key: str) -> str:
    if key.lower().startswith(_CONFINEMENT):
        raise PydanticCustomError(FORBIDDEN, "the pods keep the default profile of the runtime; remove this annotation")
    return _free_key(key)


def _labels(labels: dict[str, str]) -> dict[str, str]:
    if labels.get(_PROGRAM_LABEL) in _PROGRAMS:
        raise ValueError(f"must not have {_PROGRAM_LABEL} of the webhook or the controller; use another name")
    return labels


def _annotations(annotations: dict[str, str]) -> dict[str, str]:
    size = sum(len(text.encode("utf-8", "surrogatepass")) for pair in annotations.items() for text in pair)
    if size > _ANNOTATIONS_MAX:
        raise ValueError(f"must have at most {_ANNOTATIONS_MAX} bytes in all keys and values; it has {size}")
    return annotations


_OBJECT_NAME: Final = string_schema(names.DNS_NAME_MAX, f"^{names.OBJECT_NAME}$")

NamespaceName = Annotated[str, AfterValidator(_namespace), string_schema(names.DNS_LABEL_MAX, f"^{DNS_LABEL}$")]
NodeName = Annotated[str, AfterValidator(_node_name), _OBJECT_NAME]
PriorityClass = Annotated[str, AfterValidator(_priority_class), _OBJECT_NAME]
Weight = Annotated[
    int, AfterValidator(_weight), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": _HEAVIEST})
]
Seconds = Annotated[
    int, AfterValidator(_seconds), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": _INT32_MAX})
]
Amount = Annotated[Quantity, AfterValidator(_amount), WithJsonSchema(INT_OR_STRING)]
ContainerResource = Annotated[str, AfterValidator(_resource)]
PodLabels = Annotated[dict[Annotated[LabelKey, AfterValidator(_free_key)], LabelValue], AfterValidator(_labels)]
PodAnnotations = Annotated[
    dict[Annotated[AnnotationKey, AfterValidator(_free_annotation)], str], AfterValidator(_annotations)
]
NodeOperator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
NodeField = Literal["metadata.name"]
NodeFieldOperator = Literal["In", "NotIn"]
TolerationOperator = Literal["Exists", "Equal"]
TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
TrafficDistribution = Literal["PreferClose", "PreferSameZone", "PreferSameNode"]
