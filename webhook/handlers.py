"""Parse, mutate and validate reviews, without I/O. Both paths refuse the same objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from common import names
from common.admission_warnings import warnings_for
from common.defaults import dict_at, with_defaults
from common.field_errors import INVALID, FieldError
from common.model import RegistryMirrorSpec
from common.validation import parse_and_validate
from webhook import responses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.types import Json
    from webhook.responses import AdmissionResponse

# Fields that validation and defaults read; None means all below. Other fields are not copied and the patch does not
# touch them. managedFields alone are most of a usual object.
_REVIEWED: Final = {"metadata": ("name", "generateName", "labels"), "spec": None, "status": ("storage",)}

_WRITES: Final = frozenset({"CREATE", "UPDATE"})
OPERATIONS: Final = _WRITES | {"DELETE", "CONNECT"}
_UID_MAX: Final = 128  # characters; the API server sends UUIDs of 36, and each log line contains one
# Some 40 are usual. A report about a million wrong values would block the event loop for 20 seconds.
_VALUES_MAX: Final = 5000
_BYTES_OF_A_VALUE: Final = 2  # at least, with its comma; smaller bodies are not counted
_REGISTRY_MIRROR: Final = f"{names.API_VERSION} {names.KIND}"
_ENVELOPE: Final = (responses.API_VERSION, responses.KIND)


class MalformedError(Exception):
    """A body that is not a review, as one sentence for the administrator of the sender."""


@dataclass(frozen=True, slots=True)
class Review:
    """The parts of a review that are used. `mirror` and `old` are JSON; `old` is None for a new object."""

    uid: str
    operation: str
    kind: str  # `k8s.osp.tech/v1 RegistryMirror`, followed by `#status` for that subresource
    name: str  # for the log; may be empty
    mirror: Json
    old: Json | None
    size: int  # of the whole body, in bytes


def parse(body: bytes) -> Review:
    """Return the review in an AdmissionReview of admission.k8s.io/v1. Raise MalformedError."""
    request = _request(body)
    uid, operation, name = request.get("uid"), request.get("operation"), request.get("name")
    if not isinstance(uid, str) or not 0 < len(uid) <= _UID_MAX:
        raise MalformedError(f"request.uid must be a string of 1 to {_UID_MAX} characters")
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise MalformedError(f"request.operation must be one of {', '.join(sorted(OPERATIONS))}")
    mirror, old = (_object(request, key) for key in ("object", "oldObject"))
    if mirror is None and operation in _WRITES:
        raise MalformedError(f"request.object is required for {operation}")
    name = name[: names.DNS_NAME_MAX] if isinstance(name, str) else ""
    return Review(uid, operation, _kind(request), name, mirror or {}, old, len(body))


def mutate(review: Review, masquerade_domains: tuple[str, ...] = ()) -> AdmissionResponse:
    """Return the defaults as a patch, or a refusal."""
    spec = _validated(review, masquerade_domains)
    if not isinstance(spec, RegistryMirrorSpec):
        return spec
    operations = _difference(review.mirror, with_defaults(review.mirror, review.old))
    return responses.patched(operations) if operations else responses.allowed()


def validate(review: Review, masquerade_domains: tuple[str, ...] = ()) -> AdmissionResponse:
    """Return the warnings, or a refusal.

    /mutate returns no warnings. The API server may call it twice, and other webhooks may change the object later.
    """
    spec = _validated(review, masquerade_domains)
    if not isinstance(spec, RegistryMirrorSpec):
        return spec
    return responses.allowed(warnings_for(spec))


def _validated(review: Review, masquerade_domains: tuple[str, ...]) -> RegistryMirrorSpec | AdmissionResponse:
    """Return the spec if it is valid, else the response, which is the same for both paths."""
    if review.kind.partition("#")[0] != _REGISTRY_MIRROR:
        return responses.wrong_kind(review.kind)
    if review.operation not in _WRITES or review.kind != _REGISTRY_MIRROR:
        return responses.allowed()  # deletions and status updates always pass
    if _has_too_many_values(review):
        problem = FieldError(
            "spec",
            INVALID,
            f"must have at most {_VALUES_MAX} values",
            review.mirror.get("spec"),
        )
        return responses.denied(_name(review), [problem])
    problems, spec = parse_and_validate(review.mirror, review.old, masquerade_domains)
    return responses.denied(_name(review), problems) if problems or spec is None else spec


def _has_too_many_values(review: Review) -> bool:
    """Return True if the objects have more than _VALUES_MAX values. Count level by level and stop there."""
    if review.size <= _VALUES_MAX * _BYTES_OF_A_VALUE:
        return False
    level: list[Any] = [review.mirror, review.old]
    found = 0
    while level and found <= _VALUES_MAX:
        found += len(level)
        level = [child for node in level for child in _children(node)]
    return found > _VALUES_MAX


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _difference(before: Any, after: Any, path: str = "") -> list[Json]:
    """Return the JSON Patch operations (RFC 6902) from one value to the other. A changed list is replaced."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [{"op": "replace", "path": path, "value": after}]
    operations: list[Json] = [{"op": "remove", "path": _child(path, key)} for key in before if key not in after]
    operations += [{"op": "add", "path": _child(path, key), "value": after[key]} for key in after if key not in before]
    for key in (key for key in after if key in before):
        operations += _difference(before[key], after[key], _child(path, key))
    return operations


def _child(path: str, key: str) -> str:
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def _name(review: Review) -> object:
    return dict_at(review.mirror, "metadata").get("name") or review.name


def _request(body: bytes) -> Json:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body must be JSON: {error}") from error
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != _ENVELOPE:
        raise MalformedError(f"the body must be an {responses.KIND} of {responses.API_VERSION}")
    if not isinstance(document.get("request"), dict):
        raise MalformedError("the review has no request")
    request: Json = document["request"]
    return request


def _kind(request: Json) -> str:
    kind = dict_at(request, "kind")
    parts = [kind.get(key) for key in ("group", "version", "kind")] + [request.get("subResource") or ""]
    if not all(isinstance(part, str) for part in parts):
        raise MalformedError("request.kind must name group, version and kind, each as a string")
    group, version, name, subresource = parts
    return f"{group}/{version} {name}" + (f"#{subresource}" if subresource else "")


def _object(request: Json, key: str) -> Json | None:
    obj = request.get(key)
    if obj is None:
        return None
    if not isinstance(obj, dict):
        raise MalformedError(f"request.{key} must be an object")
    return {field: _subset(obj[field], subfields) for field, subfields in _REVIEWED.items() if field in obj}


def _subset(node: Any, fields: tuple[str, ...] | None) -> Any:
    if fields is None or not isinstance(node, dict):
        return node
    return {field: node[field] for field in fields if field in node}
