"""The agent's one door to the API server: three reads over http.client, which costs a third of the official client."""

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


# Seconds without a byte on a watch, which says something about once a minute (a bookmark). Less than the 120 s that
# nodes have to be cleaned of a deleted mirror, so that an agent whose API server died without a word still hears of it.
WATCH_SILENCE: Final = 90.0
# Seconds for each step of an answer (connection, handshake, head, a body that is no watch): all of them come at once.
ANSWER: Final = 10.0
# Bytes of an error that is worth telling; a proxy's page of HTML is longer.
ERROR_MAX: Final = 300


class ApiError(Exception):
    """A failed request. `status` is the HTTP status code, 0 if there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Gone(ApiError):
    """The version to go on from is too old: list again."""


@dataclass(frozen=True, slots=True)
class Api:
    """The API server as a pod sees it. `account` holds `token` and `ca.crt`, read anew each time: both rotate."""

    host: str
    port: int
    account: Path

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """One object or list. Raises ApiError."""
        request = _Request(self, path, query or {}, ANSWER)
        with request as answer, within(request.sock, ANSWER):
            document: Json = json.loads(answer.read())
            return document

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        """Events of a watch until the server ends it or is silent for long. Raises ApiError, Gone."""
        with _Request(self, path, {**query, "watch": "1", "allowWatchBookmarks": "true"}, WATCH_SILENCE) as answer:
            while line := _next(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 0), f"watching {path}: {event['object'].get('message')}")
                yield event


def _next(answer: http.client.HTTPResponse) -> bytes:
    """The next line of a watch; an empty one at its end, and where it has been silent for WATCH_SILENCE.

    A silent one may be dead, or be of an API server that was just started and has seen no change of that kind: the next
    watch tells.
    """
    try:
        return answer.readline()
    except TimeoutError:
        return b""


class _Request:
    """One request on a connection of its own, whose end it is; everything that fails is an ApiError."""

    def __init__(self, api: Api, path: str, query: Mapping[str, str], silence: float) -> None:
        self.api, self.silence = api, silence
        self.target = f"{path}?{urlencode(query)}" if query else path

    def __enter__(self) -> http.client.HTTPResponse:
        try:
            trust = ssl.create_default_context(cafile=str(self.api.account / "ca.crt"))
            trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13's default refuses CAs of EKS and older clusters
            token = (self.api.account / "token").read_text().strip()
            self.connection = http.client.HTTPSConnection(self.api.host, self.api.port, timeout=ANSWER, context=trust)
            self.connection.connect()
            self.sock = self.connection.sock  # the connection forgets it where an answer is its last
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "hostess"}
            with within(self.sock, ANSWER):
                self.connection.request("GET", self.target, headers=headers)
                answer = self.connection.getresponse()
                refused = b"" if answer.status == http.client.OK else answer.read(ERROR_MAX)
            self.sock.settimeout(self.silence)
        except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            self._close()
            raise ApiError(f"GET {self.target}: {error}") from error
        if answer.status != http.client.OK:
            self._close()
            raise _error(answer.status, f"GET {self.target}: {answer.status} {refused.decode('utf-8', 'replace')}")
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
