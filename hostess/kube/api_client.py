"""Read from the API server over http.client, which needs a third of the official client's memory."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from hostess.socket_deadline import within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from common.types import Json


# Seconds without a byte on a watch; bookmarks come about once a minute. It is less than the 120 s for node cleanup, so
# that an agent with a dead connection still learns of a deleted mirror in time.
WATCH_SILENCE: Final = 90.0
# Seconds for each step of an answer: connection, handshake, head, and the body if it is no watch.
ANSWER: Final = 10.0
# Bytes of an error in the log. An HTML page of a proxy is longer.
ERROR_MAX: Final = 300


class ApiError(Exception):
    """A failed request. `status` is the HTTP status code, 0 if there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Gone(ApiError):
    """The resourceVersion of a watch is too old: list again."""


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Client of the API server. `account` holds `token` and `ca.crt`, read for each request: both rotate."""

    host: str
    port: int
    account: Path

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Return one object or list. Raises ApiError."""
        request = _Request(self, path, query or {}, ANSWER)
        with request as answer, within(request.sock, ANSWER):
            document: Json = json.loads(answer.read())
            return document

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        """Yield the events of a watch until it ends or is silent for WATCH_SILENCE. Raises ApiError, Gone."""
        with _Request(self, path, {**query, "watch": "1", "allowWatchBookmarks": "true"}, WATCH_SILENCE) as answer:
            while line := _next_line(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 0), f"watching {path}: {event['object'].get('message')}")
                yield event


def _next_line(answer: http.client.HTTPResponse) -> bytes:
    """Return the next line of a watch; an empty line at its end and after WATCH_SILENCE.

    A silent watch may be dead. It may also come from a new API server without changes of that kind.
    """
    try:
        return answer.readline()
    except TimeoutError:
        return b""


class _Request:
    """One request on its own connection. Each failure becomes an ApiError."""

    def __init__(self, api: ApiClient, path: str, query: Mapping[str, str], silence: float) -> None:
        self.api, self.silence = api, silence
        self.target = f"{path}?{urlencode(query)}" if query else path

    def __enter__(self) -> http.client.HTTPResponse:
        try:
            context = ssl.create_default_context(cafile=str(self.api.account / "ca.crt"))
            context.verify_flags &= (
                ~ssl.VERIFY_X509_STRICT
            )  # Python 3.13's default refuses CAs of EKS and older clusters
            token = (self.api.account / "token").read_text().strip()
            self.connection = http.client.HTTPSConnection(self.api.host, self.api.port, timeout=ANSWER, context=context)
            self.connection.connect()
            self.sock = self.connection.sock  # http.client drops it after a last answer
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "hostess"}
            with within(self.sock, ANSWER):
                self.connection.request("GET", self.target, headers=headers)
                answer = self.connection.getresponse()
                error_body = b"" if answer.status == http.client.OK else answer.read(ERROR_MAX)
            self.sock.settimeout(self.silence)
        except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            self._close()
            raise ApiError(f"GET {self.target}: {error}") from error
        if answer.status != http.client.OK:
            self._close()
            raise _error(answer.status, f"GET {self.target}: {answer.status} {error_body.decode('utf-8', 'replace')}")
        return answer

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._close()
        if isinstance(error, (OSError, http.client.HTTPException, ValueError, KeyError, RuntimeError)):
            raise ApiError(f"GET {self.target}: {type(error).__name__}: {error}") from error

    def _close(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()


def _error(code: int, text: str) -> ApiError:
    return Gone(text, code) if code == http.client.GONE else ApiError(text, code)
