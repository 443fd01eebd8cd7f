"""The types of the model's fields: each carries its rule, as code for the webhook and as schema for the API server.

A rule raises ValueError with the rest of a sentence that starts with the field and its value.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from common import duration, names, quantity, upstream

FORBIDDEN: Final = "forbidden"  # type of the errors about what is understood and refused

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_NAME: Final = rf"{_LABEL}(\.{_LABEL})*"


def _upstream_url(text: str) -> str:
    upstream.parse(text)
    return text


def _masquerade_url(text: str) -> str:
    if "://" in text or "/" in text or ":" in text:
        raise ValueError("must be a host name alone: no scheme, no port, no path")
    if not names.is_dns_name(text.lower()):
        raise ValueError(
            "must be a DNS name: labels of letters, digits and hyphens, separated by dots, and no IP address"
        )
    if text != text.lower():
        raise ValueError(f"must be in lower case: {text.lower()}")
    return text


def _secret_name(text: str) -> str:
    labels = text.split(".")
    if len(text) > names.DNS_NAME_MAX or not all(map(names.is_dns_label, labels)):
        raise ValueError(
            "must be the name of a Secret in the controller's namespace: letters a-z, digits, hyphens, dots"
        )
    return text


def _ttl(text: str) -> str:
    duration.parse(text)
    return text


def _quantity(value: object) -> str:
    quantity.parse(value)
    return str(value)


def _storage(value: str) -> str:
    if quantity.parse(value) <= 0:
        raise ValueError("must be more than nothing")
    return value


def _refused(sentence: str) -> AfterValidator:
    """Something that Kubernetes would take and a mirror cannot use."""

    def refuse(value: str | None) -> str | None:
        if value is None:
            return None
        raise PydanticCustomError(FORBIDDEN, sentence)

    return AfterValidator(refuse)


def _writable(modes: list[str]) -> list[str]:
    if modes == ["ReadOnlyMany"]:
        raise PydanticCustomError(FORBIDDEN, "a cache writes to its volume; say ReadWriteOnce")
    return modes


def _files(mode: str) -> str:
    if mode == "Block":
        raise PydanticCustomError(FORBIDDEN, "a cache writes files; leave it out, or say Filesystem")
    return mode


UpstreamUrl = Annotated[
    str,
    AfterValidator(_upstream_url),
    # The guard while the webhook is away: no space, no user information, no path, no query, no fragment.
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^([hH][tT][tT][pP][sS]?://)?[^\s/@?#]+/?$"}
    ),
]
MasqueradeUrl = Annotated[
    str,
    AfterValidator(_masquerade_url),
    WithJsonSchema({"type": "string", "maxLength": names.DNS_NAME_MAX, "pattern": f"^{_DNS_NAME}$"}),
]
SecretName = Annotated[
    str,
    AfterValidator(_secret_name),
    WithJsonSchema({"type": "string", "maxLength": names.DNS_NAME_MAX, "pattern": f"^{_DNS_NAME}$"}),
]
Ttl = Annotated[
    str,
    AfterValidator(_ttl),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": duration.LONGEST,
            "pattern": r"^(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$",
        }
    ),
]
_INT_OR_STRING: Final[dict[str, Any]] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "pattern": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
}
Quantity = Annotated[str, BeforeValidator(_quantity), WithJsonSchema(_INT_OR_STRING)]
Storage = Annotated[Quantity, AfterValidator(_storage), WithJsonSchema(_INT_OR_STRING)]
Replicas = Annotated[int, Field(ge=1, le=10)]
AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"]
AccessModes = Annotated[list[AccessMode], AfterValidator(_writable)]
VolumeMode = Annotated[Literal["Filesystem", "Block"], AfterValidator(_files)]
NoClaimName = Annotated[str | None, _refused("the StatefulSet names each claim itself; leave it out")]
NoVolumeName = Annotated[
    str | None,
    _refused(
        "every cache pod has a volume of its own, and one name cannot be all of them; choose volumes by spec.selector"
    ),
]
LabelValue = Annotated[str, StringConstraints(max_length=names.DNS_LABEL_MAX)]
