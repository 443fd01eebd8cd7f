"""Find the upstreams in a spec that may be invalid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.types import Json


def upstream_entries(spec: Json) -> list[tuple[str, Json]]:
    """Return path and fields of each upstream, that of spec.upstreamUrl first. Values may be of any type."""
    entries = spec.get("additionalUpstreams")
    additional = [
        (f"spec.additionalUpstreams[{number}]", entry)
        for number, entry in enumerate(entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]
    return [("spec", spec), *additional]
