"""Define the formats of the controller's settings."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, JsonValue, WithJsonSchema

from common import duration, names, selector_syntax
from common.agent_protocol import AGENT_MOUNTS, certs_dir_mistake
from common.field_types import string_schema
from common.selectors import NodeSelectorRequirement
from common.settings import Names, dns_label, object_name

# Reference of an image: host and port, path, tag, digest. The path is lower case. `[` begins an IPv6 address.
_PATH_PART: Final = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
IMAGE_HOST: Final = r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"
IMAGE_NAME: Final = rf"{_PATH_PART}(/{_PATH_PART})*"
IMAGE_PATH: Final = rf"({IMAGE_HOST}/)?{IMAGE_NAME}"
IMAGE_TAG: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
IMAGE: Final = rf"{IMAGE_PATH}(:{IMAGE_TAG})?(@sha256:[0-9a-f]{{64}})?"


def _selector(value: object) -> object:
    return tuple(selector_syntax.parse(value)) if isinstance(value, str) else value


def _secret_names(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(object_name, value))


def _certs_dir(value: str) -> str:
    if mistake := certs_dir_mistake(value):
        raise ValueError(mistake)
    return value


def _image_part(value: str) -> str:
    if not re.fullmatch(r"[\w.:@\[\]-]+(/[\w.:@-]+)*", value, re.ASCII):
        raise ValueError("expected a part of an image name, without spaces or quotes, and without a slash at its ends")
    return value


def _image_tag(value: str) -> str:
    if not re.fullmatch(IMAGE_TAG, value):
        raise ValueError("expected an image tag: letters, digits, '_', '.' and '-', at most 128 characters")
    return value


def _image(value: str) -> str:
    if not re.fullmatch(IMAGE, value):
        raise ValueError(
            "expected an image such as registry.example.com/team/name:1.0 or registry.example.com/team/name@sha256:..."
        )
    return value


def repository_of(image: str) -> str:
    """Return an image's name without tag and digest."""
    path, _, name = image.partition("@")[0].rpartition("/")
    return f"{path}/{name.partition(':')[0]}".removeprefix("/")


def _duration(value: object) -> object:
    return timedelta(microseconds=duration.parse(value) // 1000) if isinstance(value, str) else value


# Each schema refuses what the validator refuses, and may refuse more: Helm checks the chart's values with it.
_LABEL: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = rf"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?{_LABEL}"
_VALUES: Final = rf"\( *{_LABEL}( *, *{_LABEL})* *\)"
_TERM: Final = rf"(! *{_KEY}|{_KEY}( *(==?|!=) *({_LABEL})?| *[<>] *[0-9]{{1,18}}| +(in|notin) *{_VALUES})?)"
_OBJECT_NAME_SCHEMA: Final[dict[str, JsonValue]] = {
    "type": "string",
    "maxLength": names.DNS_NAME_MAX,
    "pattern": f"^{names.OBJECT_NAME}$",
}
ObjectName = Annotated[str, AfterValidator(object_name), WithJsonSchema(_OBJECT_NAME_SCHEMA)]
Namespace = Annotated[str, AfterValidator(dns_label)]
NodeRequirements = Annotated[
    tuple[NodeSelectorRequirement, ...],
    BeforeValidator(_selector),
    string_schema(4096, rf"^({_TERM}( *, *{_TERM})*)?$"),
]
Image = Annotated[str, AfterValidator(_image), string_schema(1024, f"^{IMAGE}$")]
ImagePart = Annotated[str, AfterValidator(_image_part)]
ImageTag = Annotated[str, AfterValidator(_image_tag)]
_MOUNTED: Final = "|".join(AGENT_MOUNTS).replace(".", r"\.")
_CERTS_DIR_SCHEMA: Final[dict[str, JsonValue]] = {
    "type": "string",
    "pattern": r"^(/[!-.0-9;-~]+){3,}$",
    "not": {"pattern": rf"/\.\.?(/|$)|^({_MOUNTED})(/|$)"},
}
NodePath = Annotated[str, AfterValidator(_certs_dir), WithJsonSchema(_CERTS_DIR_SCHEMA)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    string_schema(20, "^([0-9]{1,6}h([0-9]{1,4}m)?([0-9]{1,4}s)?|[0-9]{1,6}m([0-9]{1,4}s)?|[0-9]{1,6}s)$"),
]
ObjectNames = Annotated[
    Names,
    AfterValidator(_secret_names),
    WithJsonSchema({"type": "array", "items": _OBJECT_NAME_SCHEMA}),
]
