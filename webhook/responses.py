"""Build the responses to a review: allowed, patched, denied, errored. Only this module knows their JSON."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from common import names
from common.field_errors import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.field_errors import FieldError
    from common.types import Json

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

_BAD_REQUEST: Final = 400
_INVALID: Final = 422
_BUG: Final = 500
# A terminal shows some 50 lines, and a spec has fewer fields than that.
_PROBLEMS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """The response of an AdmissionReview without its uid. `result` is the word for logs and metrics."""

    result: str
    response: Json


def allowed(warnings: Sequence[str] = ()) -> AdmissionResponse:
    """Allow the object. kubectl prints the warnings."""
    return AdmissionResponse("allowed", {"allowed": True} | ({"warnings": list(warnings)} if warnings else {}))


def patched(operations: list[Json]) -> AdmissionResponse:
    """Allow the object after these JSON Patch operations (RFC 6902)."""
    patch = base64.b64encode(orjson.dumps(operations)).decode()
    return AdmissionResponse("patched", {"allowed": True, "patchType": "JSONPatch", "patch": patch})


def denied(name: object, problems: Sequence[FieldError]) -> AdmissionResponse:
    """Refuse the object in the form of Kubernetes' own refusals: kubectl prints one line per cause.

    The message repeats the causes: kubectl prints only the message if it applies several objects.
    """
    reported = problems[:_PROBLEMS_MAX]
    details = {
        "name": name[: names.DNS_NAME_MAX] if isinstance(name, str) else show(name),
        "group": names.GROUP,
        "kind": names.KIND,
        "causes": [{"reason": each.cause, "field": each.path, "message": each.message} for each in reported],
    }
    message = f"{names.KIND}.{names.GROUP} {show(name)} is invalid:{_lines(reported, len(problems))}"
    return _refused("denied", {"code": _INVALID, "reason": "Invalid", "message": message, "details": details})


def wrong_kind(kind: str) -> AdmissionResponse:
    """Refuse a review of another kind, which a wrong webhook configuration sends."""
    message = (
        f"this webhook reviews {names.API_VERSION} {names.KIND}, not {show(kind)}:"
        " correct the rules of its webhook configuration"
    )
    return _refused("errored", {"code": _BAD_REQUEST, "reason": "BadRequest", "message": message})


def errored(uid: str) -> AdmissionResponse:
    """Report a bug of the webhook. Its log has the trace under this uid."""
    message = f"the webhook failed, which is a bug: search its log for the trace of review {uid}"
    return _refused("errored", {"code": _BUG, "reason": "InternalError", "message": message})


def serialize(uid: str, answer: AdmissionResponse) -> bytes:
    """Return the AdmissionReview for the API server, as JSON."""
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": {"uid": uid} | answer.response})


def _lines(reported: Sequence[FieldError], found: int) -> str:
    if found == 1:
        return f" {reported[0]}"
    more = [f"and {found - len(reported)} more"] if found > len(reported) else []
    return "".join(f"\n* {line}" for line in [*map(str, reported), *more])


def _refused(result: str, status: Json) -> AdmissionResponse:
    return AdmissionResponse(result, {"allowed": False, "status": {"status": "Failure", **status}})
