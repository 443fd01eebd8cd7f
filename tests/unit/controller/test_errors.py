"""Answers of the API server, each as the error that the controller knows what to do about."""

from __future__ import annotations

import pytest

from controller.kubeclient import errors
from controller.kubeclient.errors import ClusterError, error_for
from controller.objects import resources


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", ClusterError),
        (401, "Unauthorized", errors.Unavailable),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (405, "MethodNotAllowed", ClusterError),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "", errors.Conflict),
        (410, "Expired", errors.Gone),
        (410, "Gone", errors.Gone),
        (413, "RequestEntityTooLarge", ClusterError),
        (415, "UnsupportedMediaType", ClusterError),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Unavailable),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
        (0, "", ClusterError),
    ],
)
def test_an_answer_becomes_the_error_it_stands_for(status: int, reason: str, kind: type[ClusterError]) -> None:
    error = error_for(status, reason, "what it said", 7.0)
    assert type(error) is kind
    assert (str(error), error.status, error.reason) == ("what it said", status, reason)
    assert kind is errors.AlreadyExists or error.retry_after == 7.0


@pytest.mark.parametrize("how", [": no", " without explanation"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Forbidden),  # where the webhook names no code
        (403, errors.Forbidden),
        (404, errors.Forbidden),
        (409, errors.Forbidden),
        (422, errors.Forbidden),
        (429, errors.Unavailable),
        (500, errors.Unavailable),
    ],
)
def test_what_a_webhook_of_somebodys_denies_is_refused_whatever_code_it_likes(
    status: int, kind: type[ClusterError], how: str
) -> None:
    assert type(error_for(status, "", f'admission webhook "a.example.com" denied the request{how}')) is kind


@pytest.mark.parametrize(
    ("kind", "arguments", "path"),
    [
        (resources.SERVICE, ("ns",), "/api/v1/namespaces/ns/services"),
        (resources.SERVICE, ("ns", "a"), "/api/v1/namespaces/ns/services/a"),
        (resources.STATEFUL_SET, ("ns", "a"), "/apis/apps/v1/namespaces/ns/statefulsets/a"),
        (resources.MIRROR, (None, "a", "status"), "/apis/k8s.osp.tech/v1/registrymirrors/a/status"),
        (resources.MIRROR, (None,), "/apis/k8s.osp.tech/v1/registrymirrors"),
    ],
)
def test_paths_are_those_of_the_api(kind: resources.Kind, arguments: tuple[str], path: str) -> None:
    assert kind.path(*arguments) == path
