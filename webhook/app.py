"""Serve reviews, probes and metrics over HTTP. This is the only module that imports Starlette."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from webhook import handlers, responses
from webhook.handlers import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from common.logs import Logger
    from webhook.handlers import Review
    from webhook.metrics import Metrics
    from webhook.responses import AdmissionResponse

    Handler = Callable[[Review, tuple[str, ...]], AdmissionResponse]

# Bytes. etcd stores at most 1.5 MiB of an object, and a review carries the old and the new one; the last MiB is for
# the rest of the review. The API server reads up to 3 MiB of an object, but could not store one above 1.5.
BODY_MAX: Final = 4 * 2**20
# Bytes of a body that is read at once: ten times those of a usual review.
BODY_USUAL: Final = 2**16
# Larger bodies that are read at the same time; others get 503. An API server sends few. Without the limit, sixty
# connections with 4 MiB each would exhaust the 256 MiB of the container.
LARGE_BODIES_MAX: Final = 8
_DIGITS: Final = 20  # of the largest number of 64 bits; int() refuses thousands of digits
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# The server must not parse the unread rest of a body as a request.
_CONNECTION_CLOSE: Final = {"connection": "close"}


@dataclass(frozen=True, slots=True)
class AppContext:
    """Dependencies of the endpoints. `is_ready` returns True if clients accept the certificate now."""

    log: Logger
    metrics: Metrics
    is_ready: Callable[[], bool]
    masquerade_domains: tuple[str, ...] = ()


class TooLargeError(Exception):
    """A body above BODY_MAX, as one sentence."""


class BusyError(Exception):
    """A large body while LARGE_BODIES_MAX others are read, as one sentence."""


_STATUS: Final = {
    MalformedError: HTTPStatus.BAD_REQUEST,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def application(context: AppContext) -> Starlette:
    """Return the ASGI application. Routes are tried in order, so reviews come first."""
    large_bodies = asyncio.Semaphore(LARGE_BODIES_MAX)
    return Starlette(
        routes=[
            Route(path, ReviewEndpoint(path, handler, context, large_bodies), methods=["POST"])
            for path, handler in (("/validate", handlers.validate), ("/mutate", handlers.mutate))
        ]
        + [
            Route("/healthz", _healthz),
            Route("/readyz", _readyz(context)),
            Route("/metrics", _metrics(context)),
        ]
    )


class ReviewEndpoint:
    """Answer each POST with an AdmissionReview, or with one sentence and a 4xx status."""

    def __init__(self, path: str, handler: Handler, context: AppContext, large_bodies: asyncio.Semaphore) -> None:
        self._path = path
        self._handler = handler
        self._context = context
        self._large_bodies = large_bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, as an ASGI application."""
        started = perf_counter()
        try:
            review = handlers.parse(await self._body(scope, receive))
        except (MalformedError, TooLargeError, BusyError) as error:
            await self._refuse(error, started)(scope, receive, send)
            return
        await self._answer(review, started)(scope, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body of a JSON request. Raise MalformedError, TooLargeError or BusyError."""
        size = _announced_size(dict(scope["headers"]))
        if 0 <= size <= BODY_USUAL:
            return await _read(receive)
        if self._large_bodies.locked():
            raise BusyError(f"{LARGE_BODIES_MAX} bodies above {BODY_USUAL} bytes are being read; try again later")
        async with self._large_bodies:
            return await _read(receive)

    def _answer(self, review: Review, started: float) -> Response:
        try:
            answer = self._handler(review, self._context.masquerade_domains)
            content = responses.serialize(review.uid, answer)
        except Exception:
            self._context.log.exception("review failed", path=self._path, uid=review.uid)
            answer = responses.errored(review.uid)
            content = responses.serialize(review.uid, answer)
        seconds = perf_counter() - started
        self._context.metrics.count_review(self._path, review.operation, answer.result, seconds)
        self._context.log.info(
            "review",
            path=self._path,
            uid=review.uid,
            operation=review.operation,
            name=review.name,
            result=answer.result,
            allowed=answer.response["allowed"],
            milliseconds=_milliseconds(seconds),
        )
        return Response(content, media_type="application/json")

    def _refuse(self, error: Exception, started: float) -> Response:
        status = _STATUS[type(error)]
        seconds = perf_counter() - started
        self._context.metrics.count_review(self._path, "", "malformed", seconds)
        self._context.log.warning(
            "review malformed",
            path=self._path,
            status=status,
            reason=str(error),
            milliseconds=_milliseconds(seconds),
        )
        return PlainTextResponse(f"{error}\n", status, headers=_CONNECTION_CLOSE)


def _announced_size(headers: dict[bytes, bytes]) -> int:
    """Return the content-length, or -1 for a chunked body. Raise MalformedError or TooLargeError."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise MalformedError("the content-type must be application/json")
    length = headers.get(b"content-length", b"")
    size = int(length[:_DIGITS]) if length.isdigit() else -1
    _check_size(size)
    return size


async def _read(receive: Receive) -> bytes:
    """Return the whole body. Raise MalformedError or TooLargeError. The server limits the time."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedError("the connection ended before the body did")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        _check_size(size)
        more = message.get("more_body", False)
    return b"".join(parts)


def _check_size(size: int) -> None:
    if size > BODY_MAX:
        raise TooLargeError(f"the body is larger than {BODY_MAX} bytes; no review of a RegistryMirror needs that")


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


async def _healthz(_request: Request) -> Response:
    """Answer as long as the event loop runs."""
    return PlainTextResponse("ok\n")


def _readyz(context: AppContext) -> Any:
    async def readyz(_request: Request) -> Response:
        if context.is_ready():
            return PlainTextResponse("ok\n")
        return PlainTextResponse("the certificate in use is not valid now\n", HTTPStatus.SERVICE_UNAVAILABLE)

    return readyz


def _metrics(context: AppContext) -> Any:
    async def metrics(_request: Request) -> Response:
        return Response(context.metrics.exposed(), media_type=_METRICS_TYPE)

    return metrics
