"""Read and write the caBundle of webhook configurations."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING

from common.defaults import dict_at
from controller.objects.well_known import CONFIGURATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.types import Json
    from controller.informer.store import Store


def with_bundle(webhooks: list[Json], bundle: str) -> list[Json]:
    """Return the webhooks of a configuration with `bundle` (PEM) as their caBundle."""
    encoded = base64.b64encode(bundle.encode()).decode()
    changed = copy.deepcopy(webhooks)
    for webhook in changed:
        webhook.setdefault("clientConfig", {})["caBundle"] = encoded
    return changed


def bundles_in(store: Store) -> Iterator[str]:
    """Yield the caBundle of each webhook. The API server accepts only base64."""
    for webhook in (store.get(CONFIGURATIONS) or {}).get("webhooks") or []:
        encoded = dict_at(webhook, "clientConfig").get("caBundle") or ""
        yield base64.b64decode(encoded).decode("utf-8", "replace")
