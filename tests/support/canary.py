"""Looks for a secret in whatever form it may have got somewhere: plain, in JSON, in a URL, in base64 at any place."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.localcluster.cluster import Cluster


def forms(secret: str) -> set[str]:
    """All that would tell it."""
    escaped = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    twice = {json.dumps(text)[1:-1] for text in escaped}  # JSON within JSON, as in an annotation
    return {secret, quote(secret, safe=""), quote(secret), *escaped, *twice, *_in_base64(secret.encode())}


def _in_base64(raw: bytes) -> set[str]:
    """Of each of the three ways to stand in something longer what does not depend on its neighbours."""
    found = set()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first = (before * 8 + 5) // 6
        found.add(whole[first : len(whole) - bool((before + len(raw)) % 3)])
    return found


def traces(places: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """Where any of them is told, and in which form."""
    needles = {form for secret in secrets for form in forms(secret)}
    return [
        f"{place}: {form!r} in ...{text[max(0, text.find(form) - 80) :][:200]!r}"
        for place, text in places.items()
        for form in needles
        if form in text
    ]


def objects(cluster: Cluster) -> dict[str, str]:
    """Everything that the API server holds, as JSON, by its kind; Secrets are there too, under `Secret`."""
    listed = cluster.run_kubectl("api-resources", "--verbs=list", "--output=name").stdout.split()
    found = json.loads(cluster.run_kubectl("get", ",".join(listed), "-A", "-o", "json").stdout)["items"]
    kinds = {each["kind"] for each in found}
    return {kind: json.dumps([each for each in found if each["kind"] == kind]) for kind in kinds}
