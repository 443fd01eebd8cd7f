"""Blank what a support bundle must not contain: values of Secrets, and passwords in URLs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cli.kubectl import Json

BLANK: Final = "(blanked)"
# The user and password of a URL. Logs and variables of proxies may have them.
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s@\"']+@")
# Headers, tokens of service accounts and private keys, wherever they stand.
_LOGIN: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
_DATA: Final = ("data", "stringData")


def without_secrets(obj: Json) -> Json:
    """Return an object; a Secret keeps its keys only."""
    if obj.get("kind") != "Secret":
        return obj
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key != "managedFields"}
    annotations = {key: BLANK if key == _ANNOTATION else value for key, value in _annotations(metadata).items()}
    blanked = {part: dict.fromkeys(obj[part], BLANK) for part in _DATA if isinstance(obj.get(part), dict)}
    return {**obj, "metadata": {**metadata, "annotations": annotations}, **blanked}


def without_logins(text: str) -> str:
    """Return a text without passwords and tokens."""
    text = _KEY.sub(BLANK, text)
    text = _TOKEN.sub(BLANK, text)
    text = _LOGIN.sub(lambda found: f"{found[1]} {BLANK}", text)
    return _USER_INFO.sub(f"{BLANK}@", text)


def _annotations(metadata: Json) -> dict[str, Any]:
    return dict(metadata.get("annotations") or {})
