"""The ASGI application over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given

from common.metrics import new_registry
from tests.support import reviews
from tests.support.mirrors import a_mirror
from tests.support.recorder import Recorder
from tests.support.reviews import JSON, UID, a_review
from webhook import handlers
from webhook.app import BODY_MAX, AppContext, application
from webhook.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

BOTH = pytest.mark.parametrize("path", ["/mutate", "/validate"])


class Webhook:
    """The application with a recording logger and a client."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.log = Recorder()
        metrics = Metrics(new_registry(), lambda: 1234.0)
        self.app: Starlette = application(AppContext(self.log, metrics, lambda: is_ready))

    async def post(self, path: str, content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Post a body, by default as JSON."""
        async with self._client() as client:
            return await client.post(path, content=content, headers=JSON if headers is None else headers)

    async def get(self, path: str) -> httpx.Response:
        """Get a page."""
        async with self._client() as client:
            return await client.get(path)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="https://webhook")


@BOTH
@given(reviews.bodies())
def test_any_bytes_get_an_answer_or_400(path: str, body: bytes) -> None:
    webhook = Webhook()
    response = asyncio.run(asyncio.wait_for(webhook.post(path, body), timeout=10))
    if response.status_code == 200:
        assert response.headers["content-type"] == "application/json"
        reviews.assert_well_formed(response.json(), json.loads(body)["request"]["uid"])
    else:
        assert response.status_code == 400
        assert response.text.endswith("\n")
        assert response.text.count("\n") == 1
    assert len(webhook.log.events) == 1
    assert not webhook.log.named("review failed")


@BOTH
async def test_review_is_one_log_line(path: str) -> None:
    webhook = Webhook()
    await webhook.post(path, a_review().creating(a_mirror().replicated(0)).body())
    (line,) = webhook.log.events
    assert line.pop("milliseconds") > 0
    assert line == {
        "level": "info",
        "event": "review",
        "path": path,
        "uid": UID,
        "operation": "CREATE",
        "name": "docker",
        "result": "denied",
        "allowed": False,
    }


@BOTH
async def test_dry_run_gets_the_same_answer(path: str) -> None:
    webhook = Webhook()
    dry, wet = [await webhook.post(path, asked.body()) for asked in (a_review().dry(), a_review())]
    assert dry.content == wet.content


@BOTH
async def test_bug_becomes_answer_with_code_500(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(handlers, path.strip("/"), failing)
    webhook = Webhook()
    response = await webhook.post(path, a_review().body())
    assert response.status_code == 200
    reviews.assert_well_formed(response.json(), UID)
    status = response.json()["response"]["status"]
    assert status["code"] == 500
    assert status["reason"] == "InternalError"
    assert UID in status["message"]
    assert webhook.log.named("review failed") == [
        {"level": "error", "event": "review failed", "path": path, "uid": UID}
    ]


@BOTH
@pytest.mark.parametrize("kind", [{}, {"content-type": "text/plain"}, {"content-type": "application/jsonp"}])
async def test_other_content_types_are_malformed(path: str, kind: dict[str, str]) -> None:
    response = await Webhook().post(path, a_review().body(), kind)
    assert (response.status_code, response.text) == (400, "the content-type must be application/json\n")


async def test_content_type_may_have_parameters_and_capitals() -> None:
    response = await Webhook().post("/validate", a_review().body(), {"content-type": "Application/JSON; charset=utf-8"})
    assert response.status_code == 200


@BOTH
@pytest.mark.parametrize("length", [str(BODY_MAX + 1), "9" * 5000])
async def test_announced_large_body_is_refused_unread(path: str, length: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    response = await Webhook().post(path, endless(), {**JSON, "content-length": length})
    assert response.status_code == 413
    assert str(BODY_MAX) in response.text


@BOTH
async def test_growing_body_is_refused_at_the_limit(path: str) -> None:
    sent = 0

    async def growing() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * BODY_MAX:
            sent += 2**16
            yield bytes(2**16)

    # httpx would collect the whole body first, so the application is called as by a server.
    webhook, parts, answers = Webhook(), growing(), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(parts), "more_body": True}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    await webhook.app(scope, receive, send)
    assert answers[0]["status"] == 413
    assert sent <= BODY_MAX + 2**16


@BOTH
async def test_largest_body_is_reviewed(path: str) -> None:
    body = a_review().body()
    response = await Webhook().post(path, body + b" " * (BODY_MAX - len(body)))
    assert response.status_code == 200


async def test_other_methods_and_paths_are_refused() -> None:
    webhook = Webhook()
    assert (await webhook.get("/validate")).status_code == 405
    assert (await webhook.get("/")).status_code == 404
    assert (await webhook.post("/healthz", b"")).status_code == 405


async def test_readiness_depends_on_certificate_and_health_not() -> None:
    ready, unready = Webhook(is_ready=True), Webhook(is_ready=False)
    assert [(await webhook.get("/readyz")).status_code for webhook in (ready, unready)] == [200, 503]
    assert [(await webhook.get("/healthz")).status_code for webhook in (ready, unready)] == [200, 200]
    assert ready.log.events == unready.log.events == [], "probes are silent"


async def test_metrics_count_reviews() -> None:
    webhook = Webhook()
    await webhook.post("/mutate", a_review().body())
    await webhook.post("/validate", a_review().body())
    await webhook.post("/validate", a_review().deleting(a_mirror()).body())
    await webhook.post("/validate", a_review().creating(a_mirror().replicated(0)).body())
    await webhook.post("/validate", b"")
    exposed = await webhook.get("/metrics")
    assert exposed.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = set(exposed.text.splitlines())
    assert lines >= {
        'registrymirror_webhook_requests_total{operation="CREATE",path="/mutate",result="patched"} 1.0',
        'registrymirror_webhook_requests_total{operation="CREATE",path="/validate",result="allowed"} 1.0',
        'registrymirror_webhook_requests_total{operation="DELETE",path="/validate",result="allowed"} 1.0',
        'registrymirror_webhook_requests_total{operation="CREATE",path="/validate",result="denied"} 1.0',
        'registrymirror_webhook_requests_total{operation="",path="/validate",result="malformed"} 1.0',
        'registrymirror_webhook_request_duration_seconds_count{path="/validate"} 4.0',
        "registrymirror_webhook_certificate_expiration_timestamp_seconds 1234.0",
    }
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
