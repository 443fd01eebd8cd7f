"""Every problem of a RegistryMirror at once, each with its path, its value, the reason and a way out.

Takes any JSON and never raises: what the API server may have let through, the webhook must be able to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from common import fields, names, policy, upstream
from common.changes import refused_changes
from common.defaults import dict_at, without_nulls
from common.model import RegistryMirrorSpec
from common.problems import FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

# What each field is and how it looks, for the sentences about a missing value or one of the wrong type.
_EXPECTED: Final = {
    "spec": ("an object that says what to mirror", "spec: {upstreamUrl: quay.io}"),
    "spec.upstreamUrl": ("the registry to mirror, as a string host[:port]", "upstreamUrl: quay.io"),
    "spec.masqueradeUrl": ("a DNS name, as a string", "masqueradeUrl: local.docker.io"),
    "spec.credentialsSecret": ("the name of a Secret, as a string", "credentialsSecret: internal-mirror"),
    "spec.replicas": ("an integer from 1 to 10, without quotes", "replicas: 2"),
    "spec.ttl": ("a Go duration, as a string", "ttl: 168h"),
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
# The model has 7 levels, managedFields a few more; far below what Python's own recursion bears.
_DEPTH: Final = 64
_CLAIM: Final = "spec.volumeClaimTemplate"


def problems_of(mirror: Any, old: Any = None, masquerade_domains: tuple[str, ...] = ()) -> list[Problem]:
    """All that is wrong with a RegistryMirror (raw JSON); with `old`, also all that may not change. Never raises."""
    if not isinstance(mirror, dict):
        return [Problem("", INVALID, f"must be an object of kind {names.KIND}", mirror)]
    if _is_deeper_than(_DEPTH, mirror):
        return [Problem("", INVALID, f"is nested deeper than {_DEPTH} levels, which no {names.KIND} is", "...")]
    metadata = mirror.get("metadata")
    found = _name_problems(metadata if isinstance(metadata, dict) else {})
    found += _spec_problems(mirror.get("spec")) + _masquerade_problems(dict_at(mirror, "spec"), masquerade_domains)
    if old is not None and not any(problem.path.startswith(_CLAIM) for problem in found):
        found += refused_changes(mirror, old)
    return found


def _is_deeper_than(levels: int, node: Any) -> bool:
    """Level by level, because a recursive look would itself end in what it looks for."""
    level = [node]
    for _ in range(levels):
        level = [child for parent in level for child in _children(parent)]
    return bool(level)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _spec_problems(raw: Any) -> list[Problem]:
    if raw is None:
        return [Problem("spec", REQUIRED, _expectation("spec"))]
    try:
        RegistryMirrorSpec.model_validate(without_nulls(raw))
    except ValidationError as error:
        return [_problem(detail) for detail in error.errors(include_url=False)]
    return []


def _problem(detail: ErrorDetails) -> Problem:
    path = _path(detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return Problem(path, REQUIRED, _expectation(path))
    if kind == "value_error":
        return Problem(path, INVALID, str(context["error"]) + _example(path), value)
    if kind == fields.FORBIDDEN:
        return Problem(path, FORBIDDEN, detail["msg"])
    if kind == "literal_error":
        return Problem(path, NOT_SUPPORTED, f"must be one of {context['expected']}", value)
    if path in _EXPECTED:
        return Problem(path, INVALID, f"must be {_expectation(path)}", value)
    return Problem(path, INVALID, _TYPES.get(kind, detail["msg"]), value)


def _path(location: tuple[int | str, ...]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location if step != "[key]"]
    return "spec" + "".join(steps)


def _expectation(path: str) -> str:
    return _EXPECTED[path][0] + _example(path) if path in _EXPECTED else "must be set"


def _example(path: str) -> str:
    return f'; for example "{_EXPECTED[path][1]}"' if path in _EXPECTED else ""


def _name_problems(metadata: dict[str, Any]) -> list[Problem]:
    name = metadata.get("name")
    if not name:
        return [Problem("metadata.name", REQUIRED, _no_name(metadata))]
    if not isinstance(name, str) or not names.is_mirror_name(name):
        return [Problem("metadata.name", INVALID, _NAME_RULE, name)]
    labels = metadata.get("labels")
    mirror = labels.get(names.MIRROR_LABEL) if isinstance(labels, dict) else None
    if mirror not in (None, name):
        sentence = (
            f'must be "{name}", the name of the mirror, or be left out: it is how everything of a mirror is found'
        )
        return [Problem(f"metadata.labels.{names.MIRROR_LABEL}", INVALID, sentence, mirror)]
    return []


_NAME_RULE: Final = (
    f"must be a DNS label (a-z, 0-9, inner hyphens, no dots) of at most {names.NAME_MAX} characters:"
    f' it becomes part of other names, as in "{names.PREFIX}docker"'
)


def _no_name(metadata: dict[str, Any]) -> str:
    if metadata.get("generateName"):
        return 'generateName is not supported: everything of a mirror is named after it; for example "name: docker"'
    return f'{_NAME_RULE}; for example "name: docker"'


def _masquerade_problems(spec: dict[str, Any], allowed: tuple[str, ...]) -> list[Problem]:
    """Judges the name that nodes would use, given or implied; where there is none yet, something else is wrong."""
    given = spec.get("masqueradeUrl")
    if given is not None:
        why = policy.why_not(given, allowed) if isinstance(given, str) else None
        return [Problem("spec.masqueradeUrl", INVALID, why, given)] if why else []
    try:
        implied = names.implied_masquerade(upstream.as_written(str(spec.get("upstreamUrl"))).host)
    except ValueError:
        return []
    why = policy.why_not(implied, allowed)
    sentence = (
        f'nodes would know the mirror as "{implied}", which {why}; for example "masqueradeUrl: mirror.example.com"'
    )
    return [Problem("spec.masqueradeUrl", REQUIRED, sentence)] if why else []
