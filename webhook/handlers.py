"""From the bytes of a review to its judgement: pure, and the same judgement for /mutate and /validate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from jsonpatch import JsonPatch

from common import names
from common.admission_warnings import warnings_for
from common.defaults import dict_at, with_defaults
from common.field_errors import INVALID, FieldError
from common.model import RegistryMirrorSpec
from common.validation import parse_and_validate
from webhook import responses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhook.responses import AdmissionResponse

# What a judgement and a patch can depend on. Only this much is looked at and copied: managedFields alone are
# most of a usual object, and everything left out is untouched by the patch, so it survives.
_JUDGED: Final = {"metadata": ("name", "generateName", "labels"), "spec": None, "status": ("storage",)}

_WRITES: Final = frozenset({"CREATE", "UPDATE"})
OPERATIONS: Final = _WRITES | {"DELETE", "CONNECT"}
_UID_MAX: Final = 128  # characters: the API server's are UUIDs of 36; it ends in each log line
# Some 40 is usual. A million mistakes in one list would keep the event loop busy for 20 seconds to name them all.
_VALUES_MAX: Final = 5000
_BYTES_OF_A_VALUE: Final = 2  # at least, with its comma: a smaller body need not be counted through
_OURS: Final = f"{names.API_VERSION} {names.KIND}"
_ENVELOPE: Final = (responses.API_VERSION, responses.KIND)


class MalformedError(Exception):
    """What was sent is no review; one sentence for the person who configured the sender."""


@dataclass(frozen=True, slots=True)
class Review:
    """A review, as far as it is judged. `mirror` and `old` are raw JSON, `old` is None where there was none."""

    uid: str
    operation: str
    kind: str  # as in `k8s.osp.tech/v1 RegistryMirror`, with `#status` behind it for that subresource
    name: str  # for the log; empty where the sender gave none
    mirror: dict[str, Any]
    old: dict[str, Any] | None
    size: int  # of the whole, in bytes


def parse(body: bytes) -> Review:
    """The review in an AdmissionReview of admission.k8s.io/v1. Raises MalformedError."""
    request = _request(body)
    uid, operation, name = request.get("uid"), request.get("operation"), request.get("name")
    if not isinstance(uid, str) or not 0 < len(uid) <= _UID_MAX:
        raise MalformedError(f"request.uid must be a string of 1 to {_UID_MAX} characters")
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise MalformedError(f"request.operation must be one of {', '.join(sorted(OPERATIONS))}")
    mirror, old = (_object(request, key) for key in ("object", "oldObject"))
    if mirror is None and operation in _WRITES:
        raise MalformedError(f"request.object must be there for {operation}")
    name = name[: names.DNS_NAME_MAX] if isinstance(name, str) else ""
    return Review(uid, operation, _kind(request), name, mirror or {}, old, len(body))


def mutate(review: Review, masquerade_domains: tuple[str, ...] = ()) -> AdmissionResponse:
    """The defaults as a patch, or the refusal."""
    judgement = _judgement(review, masquerade_domains)
    if not isinstance(judgement, RegistryMirrorSpec):
        return judgement
    operations = _difference(review.mirror, with_defaults(review.mirror, review.old))
    return responses.patched(operations) if operations else responses.allowed()


def validate(review: Review, masquerade_domains: tuple[str, ...] = ()) -> AdmissionResponse:
    """The warnings, or the refusal.

    They come from here and not from /mutate, which the API server may call twice, and before other webhooks
    have changed the object: here stands what will be stored.
    """
    judgement = _judgement(review, masquerade_domains)
    if not isinstance(judgement, RegistryMirrorSpec):
        return judgement
    return responses.allowed(warnings_for(judgement))


def _judgement(review: Review, masquerade_domains: tuple[str, ...]) -> RegistryMirrorSpec | AdmissionResponse:
    """The spec, where nothing stands against it; otherwise the answer, for both paths the same."""
    if review.kind.partition("#")[0] != _OURS:
        return responses.misdirected(review.kind)
    if review.operation not in _WRITES or review.kind != _OURS:
        return responses.allowed()  # nothing stands in the way of a deletion, nor of a status
    if _has_too_many_values(review):
        problem = FieldError(
            "spec",
            INVALID,
            f"holds more than {_VALUES_MAX} values, which no {names.KIND} needs",
            review.mirror.get("spec"),
        )
        return responses.denied(_named(review), [problem])
    problems, spec = parse_and_validate(review.mirror, review.old, masquerade_domains)
    return responses.denied(_named(review), problems) if problems or spec is None else spec


def _has_too_many_values(review: Review) -> bool:
    """Whether there are more than any judgement needs; looks one level after the other, and no further than that."""
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


def _difference(before: Any, after: Any) -> list[dict[str, Any]]:
    """Operations from one to the other: add, remove and replace only, because a default never stood elsewhere."""
    operations: list[dict[str, Any]] = JsonPatch.from_diff(before, after, optimization=False, dumps=_text).patch
    return operations


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()  # what the package asks most often: a third less time a patch than by json


def _named(review: Review) -> object:
    return dict_at(review.mirror, "metadata").get("name") or review.name


def _request(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body must be JSON: {error}") from error
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != _ENVELOPE:
        raise MalformedError(f"the body must be an {responses.KIND} of {responses.API_VERSION}")
    if not isinstance(document.get("request"), dict):
        raise MalformedError("the review has no request")
    request: dict[str, Any] = document["request"]
    return request


def _kind(request: dict[str, Any]) -> str:
    kind = dict_at(request, "kind")
    parts = [kind.get(key) for key in ("group", "version", "kind")] + [request.get("subResource") or ""]
    if not all(isinstance(part, str) for part in parts):
        raise MalformedError("request.kind must name group, version and kind, each as a string")
    group, version, name, subresource = parts
    return f"{group}/{version} {name}" + (f"#{subresource}" if subresource else "")


def _object(request: dict[str, Any], key: str) -> dict[str, Any] | None:
    raw = request.get(key)
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise MalformedError(f"request.{key} must be an object")
    return {part: _only(fields, raw[part]) for part, fields in _JUDGED.items() if part in raw}


def _only(fields: tuple[str, ...] | None, node: Any) -> Any:
    if fields is None or not isinstance(node, dict):
        return node
    return {field: node[field] for field in fields if field in node}
