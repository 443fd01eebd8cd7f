"""The agent's one door to the API server: three reads over http.client, which costs a third of the official client."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Json = dict[str, Any]

# Seconds without a byte. A watch says something about once a minute (a bookmark), other answers come at once.
WATCH_SILENCE: Final = 150.0
ANSWER: Final = 10.0
# Bytes of an error that is worth telling; a proxy's page of HTML is longer.
ERROR_MAX: Final = 300


class ApiError(Exception):
    """A request that failed; the message says which and why."""


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
        with _Request(self, path, query or {}, ANSWER) as answer:
            document: Json = json.loads(answer.read())
            return document

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        """Events of a watch until the server ends it. Raises ApiError, Gone."""
        with _Request(self, path, {**query, "watch": "1", "allowWatchBookmarks": "true"}, WATCH_SILENCE) as answer:
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 0), f"watching {path}: {event['object'].get('message')}")
                yield event


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
            self.connection = http.client.HTTPSConnection(
                self.api.host, self.api.port, timeout=self.silence, context=trust
            )
            self.connection.connect()
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "hostess"}
            self.connection.request("GET", self.target, headers=headers)
            answer = self.connection.getresponse()
            refused = b"" if answer.status == http.client.OK else answer.read(ERROR_MAX)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            raise ApiError(f"GET {self.target}: {error}") from error
        if answer.status != http.client.OK:
            self._close()
            raise _error(answer.status, f"GET {self.target}: {answer.status} {refused.decode('utf-8', 'replace')}")
        return answer

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._close()
        if isinstance(error, (OSError, http.client.HTTPException, ValueError, KeyError)):
            raise ApiError(f"GET {self.target}: {type(error).__name__}: {error}") from error

    def _close(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()


def _error(code: int, text: str) -> ApiError:
    return Gone(text) if code == http.client.GONE else ApiError(text)
