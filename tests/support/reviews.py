"""Build AdmissionReviews as the API server sends them, and strategies for property tests.

Example: `a_review().creating(a_mirror()).body()`. Each method returns a new builder.
"""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jsonpatch
from hypothesis import strategies as st

from tests.support.mirrors import a_mirror
from tests.support.strategies import damaged_mirrors, mirrors

if TYPE_CHECKING:
    from common.types import Json
    from tests.support.mirrors import MirrorBuilder

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class ReviewBuilder:
    """A builder of an AdmissionReview."""

    request: Json

    def having(self, **fields: Any) -> ReviewBuilder:
        """Set fields of the request."""
        return ReviewBuilder({**copy.deepcopy(self.request), **copy.deepcopy(fields)})

    def without(self, field: str) -> ReviewBuilder:
        """Remove a field of the request."""
        return ReviewBuilder({key: value for key, value in self.request.items() if key != field})

    def creating(self, mirror: MirrorBuilder | Json) -> ReviewBuilder:
        """Review a create."""
        obj = _json_of(mirror)
        options = {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-client-side-apply"}
        return self.having(operation="CREATE", name=_name(obj), object=obj, oldObject=None, options=options)

    def updating(self, old: MirrorBuilder | Json, new: MirrorBuilder | Json) -> ReviewBuilder:
        """Review an update."""
        options = {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-edit"}
        obj = _json_of(new)
        return self.having(operation="UPDATE", name=_name(obj), object=obj, oldObject=_json_of(old), options=options)

    def deleting(self, mirror: MirrorBuilder | Json) -> ReviewBuilder:
        """Review a delete, which has only an old object."""
        options = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background"}
        obj = _json_of(mirror)
        return self.having(operation="DELETE", name=_name(obj), object=None, oldObject=obj, options=options)

    def dry(self) -> ReviewBuilder:
        """Review a dry run."""
        return self.having(dryRun=True)

    def of_kind(self, group: str, version: str, kind: str) -> ReviewBuilder:
        """Review another kind."""
        return self.having(kind={"group": group, "version": version, "kind": kind})

    def document(self) -> Json:
        """Return the whole review as JSON."""
        request = copy.deepcopy(self.request)
        return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}

    def body(self) -> bytes:
        """Return the body of the request."""
        return json.dumps(self.document()).encode()


def a_review() -> ReviewBuilder:
    """Return a review of a create of the smallest valid mirror, with all fields that the API server sends."""
    kind = {"group": "k8s.osp.tech", "version": "v1", "kind": "RegistryMirror"}
    resource = {"group": "k8s.osp.tech", "version": "v1", "resource": "registrymirrors"}
    user = {"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]}
    return ReviewBuilder(
        {
            "uid": UID,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "userInfo": user,
            "dryRun": False,
        }
    ).creating(a_mirror())


def operations_of(response: Json) -> list[Json]:
    """Return the JSON Patch of a response, or an empty list."""
    assert response.get("patchType", "JSONPatch") == "JSONPatch"
    operations: list[Json] = json.loads(base64.b64decode(response.get("patch", "W10="), validate=True))
    return operations


def patched(mirror: Json, response: Json) -> Json:
    """Apply a response's patch to an object, as the API server does."""
    result: Json = jsonpatch.apply_patch(mirror, operations_of(response))
    return result


def assert_well_formed(document: Any, uid: str) -> None:
    """Assert that the API server accepts this as the answer to the review with that uid."""
    assert set(document) == {"apiVersion", "kind", "response"}
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response = document["response"]
    assert response["uid"] == uid
    assert isinstance(response["allowed"], bool)
    assert set(response) <= {"uid", "allowed", "status", "patch", "patchType", "warnings"}
    assert ("status" in response) != response["allowed"]
    assert ("patch" in response) == ("patchType" in response)


def reviews() -> st.SearchStrategy[ReviewBuilder]:
    """Return reviews of creates and updates of valid and invalid mirrors."""
    valid = mirrors().map(lambda builder: builder.raw())
    objects = valid | _sendable(damaged_mirrors())
    creations = objects.map(lambda mirror: a_review().creating(mirror))
    updates = st.tuples(objects, objects).map(lambda both: a_review().updating(*both))
    return creations | updates


def damaged_reviews() -> st.SearchStrategy[Any]:
    """Return reviews with a missing field or with any value in it."""
    fields = st.sampled_from(["uid", "kind", "operation", "object", "oldObject", "name", "subResource", "options"])
    anything = _sendable(_json())
    broken = st.tuples(fields, anything).map(lambda pair: a_review().having(**{pair[0]: pair[1]}).document())
    gone = fields.map(lambda field: a_review().without(field).document())
    return broken | gone | anything | anything.map(lambda value: {**a_review().document(), "request": value})


def bodies() -> st.SearchStrategy[bytes]:
    """Return bodies: reviews, damaged ones, cut ones, other JSON and noise."""
    whole = (reviews().map(lambda review: review.document()) | damaged_reviews()).map(
        lambda document: json.dumps(document).encode()
    )
    cut = st.tuples(whole, st.integers(0, 400)).map(lambda pair: pair[0][: -pair[1]] if pair[1] else pair[0])
    deep = st.integers(1, 3000).map(lambda levels: b"[" * levels + b"]" * levels)
    deep_mirrors = st.integers(1, 400).map(_deep_review)
    return st.one_of(whole, whole, cut, deep, deep_mirrors, st.binary(max_size=200))


def _deep_review(levels: int) -> bytes:
    inside = b"[" * levels + b"]" * levels
    return a_review().having(object="HERE", oldObject="HERE").body().replace(b'"HERE"', b'{"spec": ' + inside + b"}")


def _json() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    )


def _sendable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return the values that Python can write as JSON. It refuses numbers of thousands of digits."""
    return values.filter(_is_sendable)


def _is_sendable(value: Any) -> bool:
    try:
        json.dumps(value)
    except ValueError:
        return False
    return True


def _json_of(mirror: MirrorBuilder | Json) -> Json:
    return mirror if isinstance(mirror, dict) else mirror.raw()


def _name(obj: Any) -> Any:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return metadata.get("name", "") if isinstance(metadata, dict) else ""
