"""Fuzz reviews: a body is malformed with one sentence, or both paths give the same verdict.

The first byte is the format of the rest: B a body, O an object as JSON, S an object line by line (see lines.py).
Paths of the old object start with `old.`.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import orjson
from jsonpatch import JsonPatch

from tests.fuzz.lines import document
from webhook import handlers, responses
from webhook.handlers import MalformedError

if TYPE_CHECKING:
    from common.types import Json
    from webhook.responses import AdmissionResponse


UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
KIND = {"group": "k8s.osp.tech", "version": "v1", "kind": "RegistryMirror"}


def one(data: bytes) -> None:
    """Check one body."""
    body = _body(data)
    if body is None:
        return
    try:
        review = handlers.parse(body)
    except MalformedError as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    mutated, validated = handlers.mutate(review), handlers.validate(review)
    for answer in (mutated, validated):
        _assert_well_formed(review.uid, answer)
    assert _refusal(mutated) == _refusal(validated)
    if _refusal(mutated) is None and review.operation in ("CREATE", "UPDATE"):
        _assert_settled(body, mutated)


def _body(data: bytes) -> bytes | None:
    kind, rest = data[:1], data[1:]
    if kind == b"B":
        return rest
    try:
        obj = orjson.loads(rest) if kind == b"O" else document(rest)
        old = obj.pop("old", None) if isinstance(obj, dict) else None
        request = {
            "uid": UID,
            "kind": KIND,
            "operation": "UPDATE" if old else "CREATE",
            "object": obj,
            "oldObject": old,
        }
        return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
    except (ValueError, RecursionError):
        return None


def _assert_well_formed(uid: str, answer: AdmissionResponse) -> None:
    document = json.loads(responses.serialize(uid, answer))
    assert set(document) == {"apiVersion", "kind", "response"}
    response = document["response"]
    assert response["uid"] == uid
    assert response["allowed"] is ("status" not in response)
    assert set(response) <= {"uid", "allowed", "status", "patch", "patchType", "warnings"}
    assert all(warning and "\n" not in warning for warning in response.get("warnings", ()))


def _refusal(answer: AdmissionResponse) -> Any:
    return answer.response.get("status")


def _assert_settled(body: bytes, mutated: AdmissionResponse) -> None:
    """Assert that the patched object is accepted without another patch."""
    document = orjson.loads(body)
    operations = _operations(mutated)
    document["request"]["object"] = JsonPatch(operations).apply(document["request"]["object"])
    again = handlers.parse(orjson.dumps(document))
    assert not _operations(handlers.mutate(again))
    assert _refusal(handlers.validate(again)) is None


def _operations(answer: AdmissionResponse) -> list[Json]:
    encoded = answer.response.get("patch")
    return [] if encoded is None else orjson.loads(base64.b64decode(encoded))
