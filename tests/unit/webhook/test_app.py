"""The webhook over HTTP, through the real ASGI application."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry

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
    """The application with a logger that keeps what it is told, and a client of it."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.log = Recorder()
        metrics = Metrics(CollectorRegistry(), lambda: 1234.0)
        self.app: Starlette = application(AppContext(self.log, metrics, lambda: is_ready))

    async def post(self, path: str, content: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Posts a body, as JSON where the headers do not say otherwise."""
        async with self._client() as client:
            return await client.post(path, content=content, headers=JSON if headers is None else headers)

    async def get(self, path: str) -> httpx.Response:
        """Gets a page."""
        async with self._client() as client:
            return await client.get(path)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="https://webhook")


@BOTH
@given(reviews.bodies())
def test_any_bytes_get_a_well_formed_answer_or_a_4xx_with_one_sentence(path: str, body: bytes) -> None:
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
async def test_a_review_is_one_line_in_the_log_with_what_it_was_about(path: str) -> None:
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
async def test_a_dry_run_is_answered_like_any_other_because_nothing_has_side_effects(path: str) -> None:
    webhook = Webhook()
    dry, wet = [await webhook.post(path, asked.body()) for asked in (a_review().dry(), a_review())]
    assert dry.content == wet.content


@BOTH
async def test_a_bug_of_ours_becomes_an_answer_with_code_500_and_the_uid(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
async def test_a_body_that_does_not_say_it_is_json_is_malformed(path: str, kind: dict[str, str]) -> None:
    response = await Webhook().post(path, a_review().body(), kind)
    assert (response.status_code, response.text) == (400, "the content-type must be application/json\n")


async def test_the_content_type_may_have_parameters_and_capitals() -> None:
    response = await Webhook().post("/validate", a_review().body(), {"content-type": "Application/JSON; charset=utf-8"})
    assert response.status_code == 200


@BOTH
@pytest.mark.parametrize("length", [str(BODY_MAX + 1), "9" * 5000])
async def test_a_body_announced_as_too_large_is_refused_before_it_is_read(path: str, length: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    response = await Webhook().post(path, endless(), {**JSON, "content-length": length})
    assert response.status_code == 413
    assert str(BODY_MAX) in response.text


@BOTH
async def test_a_body_that_becomes_too_large_is_refused_where_it_does(path: str) -> None:
    sent = 0

    async def growing() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * BODY_MAX:
            sent += 2**16
            yield bytes(2**16)

    # Through httpx the body is gathered first, so the application is asked as a server would ask it.
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
async def test_the_largest_body_allowed_is_judged(path: str) -> None:
    body = a_review().body()
    response = await Webhook().post(path, body + b" " * (BODY_MAX - len(body)))
    assert response.status_code == 200


async def test_other_methods_and_paths_are_refused() -> None:
    webhook = Webhook()
    assert (await webhook.get("/validate")).status_code == 405
    assert (await webhook.get("/")).status_code == 404
    assert (await webhook.post("/healthz", b"")).status_code == 405


async def test_ready_means_that_clients_can_trust_the_certificate_and_healthy_only_that_the_loop_runs() -> None:
    ready, unready = Webhook(is_ready=True), Webhook(is_ready=False)
    assert [(await webhook.get("/readyz")).status_code for webhook in (ready, unready)] == [200, 503]
    assert [(await webhook.get("/healthz")).status_code for webhook in (ready, unready)] == [200, 200]
    assert ready.log.events == unready.log.events == [], "probes are silent"


async def test_metrics_count_reviews_by_path_operation_and_result() -> None:
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
        'webhook_reviews_total{operation="CREATE",path="/mutate",result="patched"} 1.0',
        'webhook_reviews_total{operation="CREATE",path="/validate",result="allowed"} 1.0',
        'webhook_reviews_total{operation="DELETE",path="/validate",result="allowed"} 1.0',
        'webhook_reviews_total{operation="CREATE",path="/validate",result="denied"} 1.0',
        'webhook_reviews_total{operation="",path="/validate",result="malformed"} 1.0',
        'webhook_review_seconds_count{path="/validate"} 4.0',
        "webhook_certificate_not_after_seconds 1234.0",
    }
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
