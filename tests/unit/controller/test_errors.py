"""Test the errors for responses of the API server, and the paths of requests."""

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
def test_status_maps_to_error(status: int, reason: str, kind: type[ClusterError]) -> None:
    error = error_for(status, reason, "the message", 7.0)
    assert type(error) is kind
    assert (str(error), error.status, error.reason) == ("the message", status, reason)
    assert kind is errors.AlreadyExists or error.retry_after == 7.0


@pytest.mark.parametrize("suffix", [": no", " without explanation"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Forbidden),  # the default
        (403, errors.Forbidden),
        (404, errors.Forbidden),
        (409, errors.Forbidden),
        (422, errors.Forbidden),
        (429, errors.Unavailable),
        (500, errors.Unavailable),
    ],
)
def test_webhook_denial_is_forbidden_whatever_its_status(status: int, kind: type[ClusterError], suffix: str) -> None:
    assert type(error_for(status, "", f'admission webhook "a.example.com" denied the request{suffix}')) is kind


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
def test_path_of_kind(kind: resources.Kind, arguments: tuple[str], path: str) -> None:
    assert kind.path(*arguments) == path
