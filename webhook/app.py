"""The webhook over HTTP: read bytes, parse, call a pure function, serialise. The only module that knows Starlette."""

from __future__ import annotations

from dataclasses import dataclass, field
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

    Judge = Callable[[Review, tuple[str, ...]], AdmissionResponse]

# Bytes. etcd stores at most 1.5 MiB of an object, and a review carries the old and the new one; the last MiB is for
# who asks and how. The API server reads up to 3 MiB of a new object, but could not store what exceeds this.
BODY_MAX: Final = 4 * 2**20
# Bytes of a body that always find room: ten times what a usual review has.
BODY_USUAL: Final = 2**16
# Bytes of larger ones in hand at a time, of all connections together: eight of the largest. The API server sends few at
# once; without a bound sixty connections that bring 4 MiB each, and then wait, end a container of 256 MiB.
ROOM: Final = 8 * BODY_MAX
_DIGITS: Final = 20  # of the largest number of 64 bits
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_CLOSING: Final = {"connection": "close"}  # the rest of a body that nobody reads must not be taken for a request


class NoRoomError(Exception):
    """A large body while others are in hand that take all the room, in a sentence."""


class Room:
    """Counts the bytes of large bodies in hand."""

    def __init__(self) -> None:
        self.taken = 0

    def grow(self, before: int, after: int) -> None:
        """A body of `before` bytes has `after` now; 0 where it is in hand no more. Raises NoRoomError."""
        self.taken += max(0, after - BODY_USUAL) - max(0, before - BODY_USUAL)
        if after > before and self.taken > ROOM:
            raise NoRoomError(f"more than {ROOM} bytes of large reviews are in hand; this one finds room later")


@dataclass(frozen=True, slots=True)
class AppContext:
    """What the endpoints need from outside. `is_ready` tells whether clients can trust the certificate now."""

    log: Logger
    metrics: Metrics
    is_ready: Callable[[], bool]
    masquerade_domains: tuple[str, ...] = ()
    room: Room = field(default_factory=Room)


class TooLargeError(Exception):
    """A body that is not read to its end, in a sentence."""


def application(shell: AppContext) -> Starlette:
    """The ASGI application. Reviews stand first, because routes are tried in order."""
    return Starlette(
        routes=[
            Route("/validate", ReviewEndpoint("/validate", handlers.validate, shell), methods=["POST"]),
            Route("/mutate", ReviewEndpoint("/mutate", handlers.mutate, shell), methods=["POST"]),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz(shell)),
            Route("/metrics", _metrics(shell)),
        ]
    )


class ReviewEndpoint:
    """Answers reviews at one path by one judge. Whatever is posted gets an AdmissionReview or a sentence with a 4xx."""

    def __init__(self, path: str, judge: Judge, shell: AppContext) -> None:
        self._path = path
        self._judge = judge
        self._shell = shell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One review, as an ASGI application."""
        started = perf_counter()
        try:
            asked = handlers.parse(await _body(scope, receive, self._shell.room))
        except (MalformedError, TooLargeError, NoRoomError) as error:
            await self._refused(error, started)(scope, receive, send)
            return
        await self._answered(asked, started)(scope, receive, send)

    def _answered(self, asked: Review, started: float) -> Response:
        try:
            answer = self._judge(asked, self._shell.masquerade_domains)
            content = responses.serialised(asked.uid, answer)
        except Exception:
            self._shell.log.exception("review failed", path=self._path, uid=asked.uid)
            answer = responses.errored(asked.uid)
            content = responses.serialised(asked.uid, answer)
        seconds = perf_counter() - started
        self._shell.metrics.reviewed(self._path, asked.operation, answer.result, seconds)
        self._shell.log.info(
            "review",
            path=self._path,
            uid=asked.uid,
            operation=asked.operation,
            name=asked.name,
            result=answer.result,
            allowed=answer.response["allowed"],
            milliseconds=_milliseconds(seconds),
        )
        return Response(content, media_type="application/json")

    def _refused(self, error: Exception, started: float) -> Response:
        status = _STATUS[type(error)]
        seconds = perf_counter() - started
        self._shell.metrics.reviewed(self._path, "", "malformed", seconds)
        self._shell.log.warning(
            "review malformed",
            path=self._path,
            status=status,
            reason=str(error),
            milliseconds=_milliseconds(seconds),
        )
        return PlainTextResponse(f"{error}\n", status, headers=_CLOSING)


_STATUS: Final = {
    MalformedError: HTTPStatus.BAD_REQUEST,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NoRoomError: HTTPStatus.SERVICE_UNAVAILABLE,
}


async def _body(scope: Scope, receive: Receive, room: Room) -> bytes:
    """The whole body of a request that says it is JSON. Raises MalformedError, TooLargeError and NoRoomError.

    How long it may take is the server's business: its clock ends the connection.
    """
    headers = dict(scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise MalformedError("the content-type must be application/json")
    length = headers.get(b"content-length", b"")
    # None where the body comes in chunks: what arrives is counted then. Python would not read thousands of digits.
    size = int(length[:_DIGITS]) if length.isdigit() else 0
    parts: list[bytes] = []
    arrived, more = 0, True
    try:
        while more:
            if size > BODY_MAX:
                raise TooLargeError(f"the body is larger than {BODY_MAX} bytes, which no review of a mirror is")
            message = await receive()
            if message["type"] == "http.disconnect":
                raise MalformedError("the connection ended before the body did")
            parts.append(message.get("body", b""))
            before, arrived = arrived, arrived + len(parts[-1])
            room.grow(before, arrived)
            size = max(size, arrived)
            more = message.get("more_body", False)
    finally:
        room.grow(arrived, 0)
    return b"".join(parts)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


async def _healthz(_request: Request) -> Response:
    """The event loop runs."""
    return PlainTextResponse("ok\n")


def _readyz(shell: AppContext) -> Any:
    async def readyz(_request: Request) -> Response:
        if shell.is_ready():
            return PlainTextResponse("ok\n")
        return PlainTextResponse("the certificate in use is not valid now\n", HTTPStatus.SERVICE_UNAVAILABLE)

    return readyz


def _metrics(shell: AppContext) -> Any:
    async def metrics(_request: Request) -> Response:
        return Response(shell.metrics.exposed(), media_type=_METRICS_TYPE)

    return metrics
