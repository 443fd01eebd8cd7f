"""Search for a secret in all its forms: plain, in JSON, in a URL, in base64 at any offset."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.localcluster.cluster import Cluster


def forms(secret: str) -> set[str]:
    """Return all encodings of a secret."""
    escaped = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    twice = {json.dumps(text)[1:-1] for text in escaped}  # JSON within JSON, as in an annotation
    return {secret, quote(secret, safe=""), quote(secret), *escaped, *twice, *_in_base64(secret.encode())}


def _in_base64(secret: bytes) -> set[str]:
    """Return the base64 text of each of the three offsets, without the parts that depend on neighbouring bytes."""
    found = set()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret).decode().rstrip("=")
        first = (before * 8 + 5) // 6
        found.add(whole[first : len(whole) - bool((before + len(secret)) % 3)])
    return found


def traces(places: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """Return the places that contain one of the secrets, and the form."""
    needles = {form for secret in secrets for form in forms(secret)}
    return [
        f"{place}: {form!r} in ...{text[max(0, text.find(form) - 80) :][:200]!r}"
        for place, text in places.items()
        for form in needles
        if form in text
    ]


def objects(cluster: Cluster) -> dict[str, str]:
    """Return all objects of the API server as JSON by kind, including `Secret`."""
    listed = cluster.run_kubectl("api-resources", "--verbs=list", "--output=name").stdout.split()
    found = json.loads(cluster.run_kubectl("get", ",".join(listed), "-A", "-o", "json").stdout)["items"]
    kinds = {each["kind"] for each in found}
    return {kind: json.dumps([each for each in found if each["kind"] == kind]) for kind in kinds}
