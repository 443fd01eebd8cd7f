"""HTTP requests to the API server, with the official client's connections and the errors of this package."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import client, config

from controller.kubeclient.errors import ClusterError, Unavailable, error_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.types import Json

# Name of the controller in managedFields and in the audit log; the default would be "Python".
USER_AGENT: Final = "registrymirror-controller"


class Transport:
    """Send requests and return JSON."""

    def __init__(self, configuration: client.Configuration, request_timeout: float) -> None:
        self._configuration = configuration
        self._timeout = aiohttp.ClientTimeout(total=request_timeout)
        self._rest = client.ApiClient(configuration).rest_client

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Json | None = None
    ) -> Json:
        """Send a request and return the body of the response."""
        response = await self.send(method, path, query or {}, body, self._timeout)
        async with translated():
            return orjson.loads(await response.read())  # type: ignore[no-any-return]

    async def send(
        self, method: str, path: str, query: dict[str, str], body: Json | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send a request and return the response with its body unread. Raises ClusterError from status 400."""
        async with translated():
            headers = {"Accept": "application/json", "User-Agent": USER_AGENT, **await self._authorization()}
            if method == "PATCH":
                headers["Content-Type"] = "application/merge-patch+json"
            url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
            wrapped = await self._rest.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=limits
            )
            response: aiohttp.ClientResponse = wrapped.response
            if response.status >= 400:  # noqa: PLR2004 (HTTP: an error)
                raise _error(response.status, response.headers.get("Retry-After", ""), await response.read())
        return response

    async def _authorization(self) -> dict[str, str]:
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": token} if token else {}


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Translate errors of the client, of the connection and of incomplete JSON to Unavailable."""
    try:
        yield
    except ClusterError:
        raise
    except TimeoutError as error:
        raise Unavailable("the API server did not answer in time", reason="Timeout") from error
    except (aiohttp.ClientError, client.ApiException, config.ConfigException, OSError, ValueError) as error:
        # ValueError: JSON that was cut off, or a line longer than the buffer.
        raise Unavailable(
            f"the API server cannot be reached: {error or type(error).__name__}", reason="Unreachable"
        ) from error


def _error(status: int, retry_after: str, body: bytes) -> ClusterError:
    details: Json = {}
    with suppress(ValueError):
        details = orjson.loads(body)
    if not isinstance(details, dict):
        details = {}
    message = details.get("message") or body[:200].decode(errors="replace") or f"HTTP status {status}"
    return error_for(
        status, details.get("reason") or "", message, float(retry_after) if retry_after.isdecimal() else 0.0
    )
