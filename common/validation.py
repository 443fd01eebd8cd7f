"""Every problem of a RegistryMirror at once, each with its path, its value, the reason and a way out.

Takes any JSON and never raises: what the API server may have let through, the webhook must be able to judge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from common import field_types, names, reserved_names, upstream
from common.defaults import MAX_DEPTH, dict_at, is_too_deep, without_nulls
from common.field_errors import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, FieldError, show
from common.immutability import immutable_field_errors
from common.model import RegistryMirrorSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# What each field is and how it looks, for the sentences about a missing value or one of the wrong type.
_EXPECTED: Final = {
    "spec": ("an object that says what to mirror", "spec: {upstreamUrl: quay.io}"),
    "spec.upstreamUrl": ("the registry to mirror, as a string host[:port]", "upstreamUrl: quay.io"),
    "spec.masqueradeUrl": ("a DNS name, as a string", "masqueradeUrl: local.docker.io"),
    "spec.credentialsSecret": ("the name of a Secret, as a string", "credentialsSecret: internal-mirror"),
    "spec.replicas": ("an integer from 1 to 10, without quotes", "replicas: 2"),
    "spec.ttl": ("a Go duration, as a string (0s keeps for ever)", "ttl: 168h"),
    "spec.volumeClaimTemplate": (
        "a PersistentVolumeClaim",
        "volumeClaimTemplate: {spec: {resources: {requests: {storage: 20Gi}}}}",
    ),
    "spec.volumeClaimTemplate.spec": (
        "the spec of a PersistentVolumeClaim",
        "spec: {resources: {requests: {storage: 20Gi}}}",
    ),
    "spec.volumeClaimTemplate.spec.accessModes": ("a list of access modes", "accessModes: [ReadWriteOnce]"),
    "spec.volumeClaimTemplate.spec.resources": ("requests and limits", "resources: {requests: {storage: 20Gi}}"),
    "spec.volumeClaimTemplate.spec.resources.requests": ("quantities by resource", "requests: {storage: 20Gi}"),
    "spec.volumeClaimTemplate.spec.storageClassName": (
        "the name of a StorageClass, as a string",
        "storageClassName: fast",
    ),
}
_TYPES: Final = {
    "string_type": "must be a string (in quotes, where YAML would read something else)",
    "int_type": "must be an integer",
    "list_type": "must be a list",
    "dict_type": "must be an object with string keys",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")


def validate(mirror: Any, old: Any = None, masquerade_domains: tuple[str, ...] = ()) -> list[FieldError]:
    """All that is wrong with a RegistryMirror (raw JSON); with `old`, also all that may not change. Never raises."""
    return parse_and_validate(mirror, old, masquerade_domains)[0]


def parse_and_validate(
    mirror: Any, old: Any = None, masquerade_domains: tuple[str, ...] = ()
) -> tuple[list[FieldError], RegistryMirrorSpec | None]:
    """The problems, as of `validate`, and the spec as it was read on the way; None where it cannot be."""
    if not isinstance(mirror, dict):
        return [FieldError("", INVALID, f"must be an object of kind {names.KIND}", mirror)], None
    if is_too_deep(mirror):
        return [
            FieldError("", INVALID, f"must not be nested deeper than {MAX_DEPTH} levels, as no {names.KIND} is", {})
        ], None
    spec, found = _read(mirror.get("spec"))
    found = _name_problems(dict_at(mirror, "metadata")) + found
    found += _apart_from(found, _masquerade_problems(dict_at(mirror, "spec"), masquerade_domains))
    if old is None or is_too_deep(old):
        return found, spec
    _, stored_mistakes = _read(dict_at(old, "spec"))  # nothing was made from those, and they must be mendable
    return found + _apart_from(found + stored_mistakes, immutable_field_errors(mirror, old)), spec


def _apart_from(known: list[FieldError], further: list[FieldError]) -> list[FieldError]:
    """Those of `further` about fields that none of `known` is about already: one mistake, one line."""
    return [problem for problem in further if not any(_overlap(problem.path, other.path) for other in known)]


def _overlap(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{path}.", f"{path}["))


def _read(raw: Any) -> tuple[RegistryMirrorSpec | None, list[FieldError]]:
    """A spec from raw JSON, or what is wrong with it."""
    if raw is None:
        return None, [FieldError("spec", REQUIRED, _expectation("spec"))]
    try:
        return RegistryMirrorSpec.model_validate(without_nulls(raw)), []
    except ValidationError as error:
        return None, [_problem(detail) for detail in error.errors(include_url=False)]


def _problem(detail: ErrorDetails) -> FieldError:
    path = _path(detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return FieldError(path, REQUIRED, _expectation(path))
    if kind == "value_error":
        return FieldError(path, INVALID, str(context["error"]) + _example(path), value)
    if kind == field_types.FORBIDDEN:
        return FieldError(path, FORBIDDEN, detail["msg"])
    if kind == "literal_error":
        return FieldError(path, NOT_SUPPORTED, f"must be one of {context['expected']}", value)
    if path in _EXPECTED:
        return FieldError(path, INVALID, f"must be {_expectation(path)}", value)
    return FieldError(path, INVALID, _TYPES.get(kind, detail["msg"]), value)


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(_step(step) for step in location if step != "[key]")


def _step(step: int | str) -> str:
    """As Kubernetes writes it; a key that is no plain word is a value of the user's, and shown as one."""
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{show(step)}]"


def _expectation(path: str) -> str:
    if path in _EXPECTED:
        return _EXPECTED[path][0] + _example(path)
    return f"must be set, or the whole of {path.rpartition('.')[0]} left out"


def _example(path: str) -> str:
    return f'; for example "{_EXPECTED[path][1]}"' if path in _EXPECTED else ""


def _name_problems(metadata: dict[str, Any]) -> list[FieldError]:
    name = metadata.get("name")
    if not name:
        return [FieldError("metadata.name", REQUIRED, _no_name(metadata))]
    if not isinstance(name, str) or not names.is_mirror_name(name):
        return [FieldError("metadata.name", INVALID, _NAME_RULE, name)]
    labels = metadata.get("labels")
    mirror = labels.get(names.MIRROR_LABEL) if isinstance(labels, dict) else None
    if mirror is not None and mirror != name:
        sentence = (
            f'must be "{name}", the name of the mirror, or be left out: it is how everything of a mirror is found'
        )
        return [FieldError(f"metadata.labels.{names.MIRROR_LABEL}", INVALID, sentence, mirror)]
    return []


_NAME_RULE: Final = (
    f"must be a DNS label (a-z, 0-9, inner hyphens, no dots) of at most {names.NAME_MAX} characters that does not end"
    f' in "{names.HEADLESS_SUFFIX}": it becomes part of other names, as in "{names.PREFIX}docker"'
)


def _no_name(metadata: dict[str, Any]) -> str:
    if metadata.get("generateName"):
        return 'generateName is not supported: everything of a mirror is named after it; for example "name: docker"'
    return f'{_NAME_RULE}; for example "name: docker"'


def _why_not_given(name: str, allowed: tuple[str, ...]) -> str | None:
    """Stricter than for a name that is implied, which begins with `mirror-` and so is nobody else's."""
    local = "must have a dot: names of one part are those of nodes, and no image can be named after them"
    return reserved_names.refusal_reason(name, allowed) or (local if reserved_names.is_local(name) else None)


def _masquerade_problems(spec: dict[str, Any], allowed: tuple[str, ...]) -> list[FieldError]:
    """Judges the name that nodes would use, given or implied; where there is none yet, something else is wrong."""
    given = spec.get("masqueradeUrl")
    example = f'; for example "masqueradeUrl: mirror.{allowed[0] if allowed else "example.com"}"'
    if given is not None:
        why = _why_not_given(given, allowed) if isinstance(given, str) else None
        return [FieldError("spec.masqueradeUrl", INVALID, why + example, given)] if why else []
    written = spec.get("upstreamUrl")
    try:
        implied = names.default_masquerade(upstream.parse_literal(written if isinstance(written, str) else "").host)
    except ValueError:
        return []
    why = reserved_names.refusal_reason(implied, allowed)
    sentence = f'nodes would know the mirror as "{implied}", which {why}{example}'
    return [FieldError("spec.masqueradeUrl", REQUIRED, sentence)] if why else []
