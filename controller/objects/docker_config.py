"""Read the account of a registry from a Secret of the type kubernetes.io/dockerconfigjson. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from common import upstream
from common.defaults import dict_at

if TYPE_CHECKING:
    from common.types import Json
    from common.upstream import Upstream

TYPE: Final = "kubernetes.io/dockerconfigjson"
KEY: Final = ".dockerconfigjson"
# Versions of the registry API that `docker login` appends, as in https://index.docker.io/v1/.
_VERSIONS: Final = ("/v1", "/v2")


def account_of(secret: Json, registry: Upstream) -> tuple[str, str]:
    """Return user name and password for a registry, both in base64 and empty if the Secret has none for it."""
    auths = dict_at({"": _document(secret)}, "").get("auths")
    for server, entry in auths.items() if isinstance(auths, dict) else ():
        if isinstance(entry, dict) and _registry_of(server) == registry:
            return _account(entry)
    return "", ""


def _document(secret: Json) -> Any:
    try:
        return json.loads(base64.b64decode(dict_at(secret, "data").get(KEY) or "", validate=True))
    except (ValueError, RecursionError):
        return None


def _registry_of(server: str) -> Upstream | None:
    """Return the registry of a key. A key with another path is for single repositories."""
    host = server.removesuffix("/")
    for version in _VERSIONS:
        host = host.removesuffix(version)
    try:
        return upstream.parse(host)
    except ValueError:
        return None


def _account(entry: Json) -> tuple[str, str]:
    """Return the account of an entry. `auth`, which docker prefers, has both parts."""
    try:
        user, _, password = base64.b64decode(entry.get("auth") or "", validate=True).partition(b":")
    except (binascii.Error, TypeError, ValueError):
        user, password = b"", b""
    user, password = user or _bytes(entry.get("username")), password or _bytes(entry.get("password"))
    return _base64(user), _base64(password)


def _bytes(text: object) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""


def _base64(part: bytes) -> str:
    return base64.b64encode(part).decode()
