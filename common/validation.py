"""Validate a RegistryMirror and return all errors, each with path, value, reason and fix.

Accept any JSON and never raise, because older objects may be invalid.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from common import field_types, masquerade, names, quantity, upstream
from common.defaults import MAX_DEPTH, dict_at, is_too_deep, without_nulls
from common.field_errors import DUPLICATE, FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, FieldError, show
from common.immutability import immutable_field_errors
from common.model import ADDITIONAL_UPSTREAMS_MAX, RegistryMirrorSpec
from common.upstream_entries import upstream_entries

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from common.types import Json

# Description and example of each field, for errors about missing values and wrong types.
_EXPECTED: Final = {
    "spec": ("an object with at least upstreamUrl", "spec: {upstreamUrl: quay.io}"),
    "spec.upstreamUrl": ("the registry to mirror, as a string host[:port]", "upstreamUrl: quay.io"),
    "spec.masqueradeUrl": ("a DNS name, as a string", "masqueradeUrl: local.docker.io"),
    "spec.credentialsSecret": ("the name of a Secret, as a string", "credentialsSecret: internal-mirror"),
    "spec.additionalUpstreams": (
        f"a list of at most {ADDITIONAL_UPSTREAMS_MAX} registries",
        "additionalUpstreams: [{upstreamUrl: quay.io}]",
    ),
    "spec.additionalUpstreams[]": ("a registry, as an object with upstreamUrl", "- upstreamUrl: quay.io"),
    "spec.additionalUpstreams[].upstreamUrl": ("a registry, as a string host[:port]", "upstreamUrl: quay.io"),
    "spec.additionalUpstreams[].credentialsSecret": (
        "the name of a Secret, as a string",
        "credentialsSecret: internal-mirror",
    ),
    "spec.replicas": ("an integer from 1 to 10, without quotes", "replicas: 2"),
    "spec.ttl": ("a Go duration, as a string (0s sets no limit)", "ttl: 168h"),
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
    "spec.cache": ("settings of the cache pods", "cache: {nodeSelector: {node-role.kubernetes.io/infra: ''}}"),
    "spec.cache.nodeSelector": (
        "labels of nodes, each a string",
        "nodeSelector: {node-role.kubernetes.io/infra: ''}",
    ),
    "spec.cache.tolerations": (
        "a list of tolerations",
        "tolerations: [{key: node-role.kubernetes.io/infra, operator: Exists}]",
    ),
    "spec.cache.affinity": ("the affinity of a pod", "affinity: {nodeAffinity: {...}}"),
    "spec.cache.resources": ("requests and limits", "resources: {requests: {cpu: 50m, memory: 64Mi}}"),
    "spec.agent": ("settings of the node agents", "agent: {labels: {team: platform}}"),
    "spec.agent.resources": ("requests and limits", "resources: {requests: {cpu: 5m, memory: 32Mi}}"),
}
_TYPES: Final = {
    "string_type": "must be a string; write it in quotes",
    "int_type": "must be an integer",
    "list_type": "must be a list",
    "dict_type": "must be an object with string keys",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
# Parent of `resources`, the resource, and an example of an amount.
_SIZES: Final = (
    ("volumeClaimTemplate.spec", "storage", "20Gi"),
    ("cache", "memory", "64Mi"),
    ("agent", "memory", "64Mi"),
)
_INDEX: Final = re.compile(r"\[[0-9]+\]")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")


def validate(mirror: Any, old: Any = None, masquerade_domains: tuple[str, ...] = ()) -> list[FieldError]:
    """Return all errors of a RegistryMirror (JSON); with `old`, also changes of immutable fields. Never raise."""
    return parse_and_validate(mirror, old, masquerade_domains)[0]


def parse_and_validate(
    mirror: Any, old: Any = None, masquerade_domains: tuple[str, ...] = ()
) -> tuple[list[FieldError], RegistryMirrorSpec | None]:
    """Return the errors and the parsed spec, which is None if it is invalid."""
    if not isinstance(mirror, dict):
        return [FieldError("", INVALID, f"must be an object of kind {names.KIND}", mirror)], None
    if is_too_deep(mirror):
        return [
            FieldError(
                "",
                INVALID,
                f"must not have more than {MAX_DEPTH} levels; remove what is not part of a {names.KIND}",
                {},
            )
        ], None
    spec, found = _parse(mirror.get("spec"))
    found = _name_errors(dict_at(mirror, "metadata")) + found
    found += _not_about(found, _masquerade_errors(dict_at(mirror, "spec"), masquerade_domains))
    found += _not_about(found, _duplicate_errors(dict_at(mirror, "spec")))
    found += _not_about(found, _size_errors(dict_at(mirror, "spec")))
    if old is None or is_too_deep(old):
        return found, spec
    _, stored_errors = _parse(dict_at(old, "spec"))  # invalid fields have no objects, so they can change
    return found + _not_about(found + stored_errors, immutable_field_errors(mirror, old)), spec


def _not_about(known: list[FieldError], further: list[FieldError]) -> list[FieldError]:
    """Return the errors of `further` whose fields have no error in `known`: one line per field."""
    return [error for error in further if not any(_overlap(error.path, other.path) for other in known)]


def _overlap(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{path}.", f"{path}["))


def _parse(obj: Any) -> tuple[RegistryMirrorSpec | None, list[FieldError]]:
    """Parse a spec from JSON, or return its errors."""
    if obj is None:
        return None, [FieldError("spec", REQUIRED, _expectation("spec"))]
    try:
        return RegistryMirrorSpec.model_validate(without_nulls(obj)), []
    except ValidationError as error:
        return None, [_field_error(detail) for detail in error.errors(include_url=False)]


def _field_error(detail: ErrorDetails) -> FieldError:
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
    if _any_index(path) in _EXPECTED:
        return FieldError(path, INVALID, f"must be {_expectation(path)}", value)
    return FieldError(path, INVALID, _TYPES.get(kind, detail["msg"]), value)


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(_step(step) for step in location if step != "[key]")


def _step(step: int | str) -> str:
    """Return one step of a path as Kubernetes prints it. Unusual keys are shown like values."""
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{show(step)}]"


def _expectation(path: str) -> str:
    if (known := _any_index(path)) in _EXPECTED:
        return _EXPECTED[known][0] + _example(path)
    return f"set it, or remove {path.rpartition('.')[0]}"


def _example(path: str) -> str:
    known = _any_index(path)
    return f'; for example "{_EXPECTED[known][1]}"' if known in _EXPECTED else ""


def _any_index(path: str) -> str:
    """Return the path without the numbers of list entries, as in _EXPECTED."""
    return _INDEX.sub("[]", path)


def _name_errors(metadata: Json) -> list[FieldError]:
    name = metadata.get("name")
    if not name:
        return [FieldError("metadata.name", REQUIRED, _no_name(metadata))]
    if not isinstance(name, str) or not names.is_mirror_name(name):
        return [FieldError("metadata.name", INVALID, _NAME_RULE, name)]
    labels = metadata.get("labels")
    mirror = labels.get(names.MIRROR_LABEL) if isinstance(labels, dict) else None
    if mirror is not None and mirror != name:
        sentence = f'must be "{name}", the name of the mirror; correct it, or remove the label'
        return [FieldError(f"metadata.labels.{names.MIRROR_LABEL}", INVALID, sentence, mirror)]
    return []


_NAME_RULE: Final = (
    f"must be a DNS label (a-z, 0-9, inner hyphens, no dots) of at most {names.NAME_MAX} characters without"
    f' "{names.HEADLESS_SUFFIX}" at the end, because object names contain it, as in "{names.PREFIX}docker"'
)


def _no_name(metadata: Json) -> str:
    if metadata.get("generateName"):
        return 'generateName is not supported, because objects are named after the mirror; for example "name: docker"'
    return f'{_NAME_RULE}; for example "name: docker"'


def _masquerade_errors(spec: Json, allowed: tuple[str, ...]) -> list[FieldError]:
    """Validate the host name on the nodes by one rule, whether it is from the spec or the default."""
    given, registry = spec.get("masqueradeUrl"), _upstream(spec.get("upstreamUrl"))
    additional = [found for _, each in upstream_entries(spec)[1:] if (found := _upstream(each.get("upstreamUrl")))]
    example = f'; for example "masqueradeUrl: mirror.{allowed[0] if allowed else "example.com"}"'
    if given is not None:
        reason = masquerade.refusal_reason(given, registry, additional, allowed) if isinstance(given, str) else None
        return [FieldError("spec.masqueradeUrl", INVALID, reason + example, given)] if reason else []
    if registry is None:
        return []
    default = masquerade.default_of(spec["upstreamUrl"])
    reason = masquerade.refusal_reason(default, registry, additional, allowed)
    sentence = f'the default "{default}" {reason}; set another name{example}'
    return [FieldError("spec.masqueradeUrl", REQUIRED, sentence)] if reason else []


def _duplicate_errors(spec: Json) -> list[FieldError]:
    """Return an error for each upstream with image names of an earlier one."""
    errors, holders = [], dict[str, str]()
    for entry, fields in upstream_entries(spec):
        path, url = f"{entry}.upstreamUrl", fields.get("upstreamUrl")
        hosts = found.image_hosts if (found := _upstream(url)) else ()
        taken = next((host for host in hosts if host in holders), None)
        if taken is not None:
            sentence = f"{holders[taken]} has the images named {taken}/... already; remove one of the two"
            errors.append(FieldError(path, DUPLICATE, sentence, url))
        holders |= dict.fromkeys(hosts, path) if taken is None else {}
    return errors


def _size_errors(spec: Json) -> list[FieldError]:
    """Return an error for each volume that is too small for any image, and memory for any program."""
    errors = []
    for (path, resource, example), kind in product(_SIZES, ("requests", "limits")):
        amount = dict_at(spec, *path.split("."), "resources", kind).get(resource) or 0
        try:
            quantity.refuse_few_bytes(amount, example)
        except ValueError as error:
            errors.append(FieldError(f"spec.{path}.resources.{kind}.{resource}", INVALID, str(error), amount))
    return errors


def _upstream(url: Any) -> upstream.Upstream | None:
    try:
        return upstream.parse(url) if isinstance(url, str) else None
    except ValueError:
        return None
