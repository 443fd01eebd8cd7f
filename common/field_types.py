"""Define the types of the model's fields, each with its rule as code and as schema.

A rule raises ValueError with the reason and the fix. The caller adds path and value.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from common import duration, names, quantity, upstream

FORBIDDEN: Final = "forbidden"  # error type of values that are valid in Kubernetes, and not in a mirror

DNS_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL_PART: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"  # the value of a label and the last part of its key


def _upstream_url(text: str) -> str:
    upstream.parse(text)
    return text


def _masquerade_url(text: str) -> str:
    if "://" in text or "/" in text or ":" in text:
        raise ValueError("must be a host name only; remove scheme, port and path")
    if not names.is_dns_name(text.lower()):
        raise ValueError(
            "must be a DNS name, not an IP address: parts of letters, digits and inner hyphens, at most 63 characters"
            " each, joined by dots"
        )
    if text != text.lower():
        raise ValueError(f"must be in lower case; write {text.lower()}")
    return text


def _secret_name(text: str) -> str:
    if not names.is_object_name(text):
        raise ValueError(
            "must be the name of a Secret in the controller's namespace: a-z, 0-9, inner hyphens and dots, at most"
            f" {names.DNS_NAME_MAX} characters"
        )
    return text


def _class_name(text: str) -> str:
    if text and not names.is_object_name(text):
        raise ValueError(
            "must be the name of a class: a-z, 0-9, inner hyphens and dots; remove it to use the cluster's default"
        )
    return text


def _label_value(text: str) -> str:
    if text and not (len(text) <= names.DNS_LABEL_MAX and re.fullmatch(_LABEL_PART, text)):
        raise ValueError(
            "must be a label value: letters, digits and inner '-', '_', '.', at most 63 characters, or empty;"
            " use an annotation for other text"
        )
    return text


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    is_name = len(name) <= names.DNS_LABEL_MAX and re.fullmatch(_LABEL_PART, name)
    if not is_name or (slash and not names.is_object_name(prefix)):
        raise ValueError(
            "must be a key of letters, digits and inner '-', '_', '.', at most 63 characters; an optional prefix is a"
            " DNS name and a slash, as in example.com/team"
        )
    return text


def _annotation_key(text: str) -> str:
    _label_key(text.lower())
    return text


def _ttl(text: str) -> str:
    duration.parse(text)
    return text


def _quantity(value: object) -> str:
    quantity.parse(value)
    return str(value)


def _storage(value: str) -> str:
    if quantity.parse(value) <= 0:
        raise ValueError("must be greater than zero, as in 20Gi")
    return value


def _refused(sentence: str) -> BeforeValidator:
    """Return a validator that refuses every value except null."""

    def refuse(value: object) -> object:
        if value is None:
            return None
        raise PydanticCustomError(FORBIDDEN, sentence)

    return BeforeValidator(refuse)


def _resource(name: str) -> str:
    if name != "storage":
        raise PydanticCustomError(FORBIDDEN, 'a volume has no resource except "storage"; remove this one')
    return name


def _usable(modes: list[str]) -> list[str]:
    if set(modes) == {"ReadOnlyMany"}:
        raise PydanticCustomError(FORBIDDEN, "a cache writes to its volume; use ReadWriteOnce")
    if "ReadWriteOncePod" in modes and set(modes) != {"ReadWriteOncePod"}:
        raise PydanticCustomError(FORBIDDEN, "ReadWriteOncePod excludes all other modes; remove the others")
    return modes


def _files(mode: object) -> object:
    if mode == "Block":
        raise PydanticCustomError(FORBIDDEN, "a cache writes files; remove it, or use Filesystem")
    return mode


def string_schema(longest: int, pattern: str) -> WithJsonSchema:
    """Return the schema of a string."""
    return WithJsonSchema({"type": "string", "maxLength": longest, "pattern": pattern})


UpstreamUrl = Annotated[
    str,
    AfterValidator(_upstream_url),
    # Refuses spaces, user information, paths, queries and fragments while the webhook is down.
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^([hH][tT][tT][pP][sS]?://)?[^\s/@?#]+/?$"}
    ),
]
MasqueradeUrl = Annotated[
    str, AfterValidator(_masquerade_url), string_schema(names.DNS_NAME_MAX, rf"^{DNS_LABEL}(\.{DNS_LABEL})*$")
]
SecretName = Annotated[str, AfterValidator(_secret_name), string_schema(names.DNS_NAME_MAX, f"^{names.OBJECT_NAME}$")]
# An empty class name disables provisioning: Kubernetes then binds existing volumes only.
ClassName = Annotated[str, AfterValidator(_class_name), string_schema(names.DNS_NAME_MAX, f"^({names.OBJECT_NAME})?$")]
Ttl = Annotated[str, AfterValidator(_ttl), string_schema(duration.MAX_LENGTH, f"^{duration.PATTERN}$")]
INT_OR_STRING: Final[dict[str, Any]] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "pattern": f"^{quantity.PATTERN}$",
}
Quantity = Annotated[str, BeforeValidator(_quantity), WithJsonSchema(INT_OR_STRING)]
Storage = Annotated[Quantity, AfterValidator(_storage), WithJsonSchema(INT_OR_STRING)]
Resource = Annotated[str, AfterValidator(_resource)]
Replicas = Annotated[int, Field(ge=1, le=10)]
AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"]
AccessModes = Annotated[list[AccessMode], AfterValidator(_usable)]
VolumeMode = Annotated[Literal["Filesystem"], BeforeValidator(_files)]
NoClaimName = Annotated[str | None, _refused("the StatefulSet names each claim; remove this field")]
NoVolumeName = Annotated[
    str | None,
    _refused("each cache pod needs a volume of its own; remove this field, or select volumes with spec.selector"),
]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value), string_schema(names.DNS_LABEL_MAX, f"^({_LABEL_PART})?$")]
AnnotationKey = Annotated[str, AfterValidator(_annotation_key)]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
