"""The four words that answer a review: allowed, patched, denied, errored. Uid, codes and base64 live only here."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from common import names
from common.field_errors import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.field_errors import FieldError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

_BAD_REQUEST: Final = 400
_INVALID: Final = 422
_BUG: Final = 500
# A terminal shows some 50 lines, and a spec has not twice as many fields: more problems help nobody.
_TOLD: Final = 100


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """The response of an AdmissionReview, but for its uid. `result` is the word for logs and metrics."""

    result: str
    response: dict[str, Any]


def allowed(warnings: Sequence[str] = ()) -> AdmissionResponse:
    """Nothing stands against the object; kubectl prints the warnings."""
    return AdmissionResponse("allowed", {"allowed": True} | ({"warnings": list(warnings)} if warnings else {}))


def patched(operations: list[dict[str, Any]]) -> AdmissionResponse:
    """The object is allowed after these JSON Patch operations (RFC 6902)."""
    patch = base64.b64encode(orjson.dumps(operations)).decode()
    return AdmissionResponse("patched", {"allowed": True, "patchType": "JSONPatch", "patch": patch})


def denied(name: object, problems: Sequence[FieldError]) -> AdmissionResponse:
    """The object is refused, in the form of Kubernetes' own refusals: kubectl prints one line a cause.

    The message holds all of it too, because kubectl prints that alone where several objects are applied.
    """
    told = problems[:_TOLD]
    details = {
        "name": name[: names.DNS_NAME_MAX] if isinstance(name, str) else show(name),
        "group": names.GROUP,
        "kind": names.KIND,
        "causes": [{"reason": each.cause, "field": each.path, "message": each.message} for each in told],
    }
    message = f"{names.KIND}.{names.GROUP} {show(name)} is invalid:{_lines(told, len(problems))}"
    return _refused("denied", {"code": _INVALID, "reason": "Invalid", "message": message, "details": details})


def misdirected(what: str) -> AdmissionResponse:
    """The review is of something that this webhook does not judge: the registration is wrong."""
    message = (
        f"this webhook judges {names.API_VERSION} {names.KIND} and was asked about {show(what)}:"
        " the rules of its webhook configuration are wrong"
    )
    return _refused("errored", {"code": _BAD_REQUEST, "reason": "BadRequest", "message": message})


def errored(uid: str) -> AdmissionResponse:
    """The webhook itself failed: a bug of ours, whose trace stands in the log under this uid."""
    message = f"the webhook failed while it judged the object, which is a bug: its log has the trace of review {uid}"
    return _refused("errored", {"code": _BUG, "reason": "InternalError", "message": message})


def serialised(uid: str, answer: AdmissionResponse) -> bytes:
    """The AdmissionReview that goes back to the API server, as JSON."""
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": {"uid": uid} | answer.response})


def _lines(told: Sequence[FieldError], found: int) -> str:
    if found == 1:
        return f" {told[0]}"
    more = [f"and {found - len(told)} more"] if found > len(told) else []
    return "".join(f"\n* {line}" for line in [*map(str, told), *more])


def _refused(result: str, status: dict[str, Any]) -> AdmissionResponse:
    return AdmissionResponse(result, {"allowed": False, "status": {"status": "Failure", **status}})
