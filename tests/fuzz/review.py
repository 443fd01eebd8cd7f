"""The webhook: any body is malformed, in one sentence, or judged; and both judges say the same.

The first byte says what the rest is: B the body, O an object as JSON, S an object line by line (see lines.py), with
`old.` before the paths of what was stored before.
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
    """One body."""
    body = _body(data)
    if body is None:
        return
    try:
        asked = handlers.parse(body)
    except MalformedError as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    changed, judged = handlers.mutate(asked), handlers.validate(asked)
    for answer in (changed, judged):
        _is_well_formed(asked.uid, answer)
    assert _refusal(changed) == _refusal(judged)
    if _refusal(changed) is None and asked.operation in ("CREATE", "UPDATE"):
        _is_settled(body, changed)


def _body(data: bytes) -> bytes | None:
    kind, rest = data[:1], data[1:]
    if kind == b"B":
        return rest
    try:
        raw = orjson.loads(rest) if kind == b"O" else document(rest)
        old = raw.pop("old", None) if isinstance(raw, dict) else None
        request = {
            "uid": UID,
            "kind": KIND,
            "operation": "UPDATE" if old else "CREATE",
            "object": raw,
            "oldObject": old,
        }
        return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
    except (ValueError, RecursionError):
        return None


def _is_well_formed(uid: str, answer: AdmissionResponse) -> None:
    written = json.loads(responses.serialize(uid, answer))
    assert set(written) == {"apiVersion", "kind", "response"}
    response = written["response"]
    assert response["uid"] == uid
    assert response["allowed"] is ("status" not in response)
    assert set(response) <= {"uid", "allowed", "status", "patch", "patchType", "warnings"}
    assert all(warning and "\n" not in warning for warning in response.get("warnings", ()))


def _refusal(answer: AdmissionResponse) -> Any:
    return answer.response.get("status")


def _is_settled(body: bytes, changed: AdmissionResponse) -> None:
    """The object as patched is accepted too, and needs no patch any more."""
    whole = orjson.loads(body)
    operations = _operations(changed)
    whole["request"]["object"] = JsonPatch(operations).apply(whole["request"]["object"])
    again = handlers.parse(orjson.dumps(whole))
    assert not _operations(handlers.mutate(again))
    assert _refusal(handlers.validate(again)) is None


def _operations(answer: AdmissionResponse) -> list[Json]:
    encoded = answer.response.get("patch")
    return [] if encoded is None else orjson.loads(base64.b64decode(encoded))
