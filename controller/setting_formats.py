"""Define the formats of the controller's settings."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from common import duration, selector_syntax
from common.selectors import NodeSelectorRequirement
from common.settings import Names, dns_label, object_name

_PARENTS_MIN: Final = 2  # of a path in a folder of the root


def _selector(value: object) -> object:
    return tuple(selector_syntax.parse(value)) if isinstance(value, str) else value


def _secret_names(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(object_name, value))


def _absolute(value: str) -> str:
    path = PurePosixPath(value)
    if (
        not value.isprintable()
        or value != value.strip()
        or not path.is_absolute()
        or ".." in path.parts
        or str(path) != value
        or ":" in value
        or value == path.root
    ):
        raise ValueError("expected the absolute path of one folder, without . or .. or a colon")
    return value


def _certs_dir(value: str) -> str:
    if len(PurePosixPath(_absolute(value)).parents) <= _PARENTS_MIN:
        raise ValueError(
            "expected a folder at least three levels deep, such as /etc/containerd/certs.d: the agent mounts the folder"
            " above it, which must not be / or a folder such as /etc"
        )
    return value


def _image_part(value: str) -> str:
    if not re.fullmatch(r"[\w.:@\[\]-]+(/[\w.:@-]+)*", value, re.ASCII):
        raise ValueError("expected a part of an image name, without spaces or quotes, and without a slash at its ends")
    return value


def _image_tag(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,127}", value, re.ASCII):
        raise ValueError("expected an image tag: letters, digits, '_', '.' and '-', at most 128 characters")
    return value


def _duration(value: object) -> object:
    return timedelta(microseconds=duration.parse(value) // 1000) if isinstance(value, str) else value


ObjectName = Annotated[str, AfterValidator(object_name)]
Namespace = Annotated[str, AfterValidator(dns_label)]
NodeRequirements = Annotated[tuple[NodeSelectorRequirement, ...], BeforeValidator(_selector)]
ImagePart = Annotated[str, AfterValidator(_image_part)]
ImageTag = Annotated[str, AfterValidator(_image_tag)]
NodePath = Annotated[str, AfterValidator(_certs_dir)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
ObjectNames = Annotated[Names, AfterValidator(_secret_names)]
