"""Find out at shutdown if the mirror was removed from the cluster.

At the deletion of a namespace Kubernetes ends its pods first, and deletes Services and roles only after them. So the
agent reads its Namespace too.
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from hostess.kube.api_client import ApiError
from hostess.kube.mirror_endpoints import parse_endpoints

if TYPE_CHECKING:
    from hostess.kube.api_client import ApiClient
    from hostess.settings import Settings

# Seconds for both answers. The pod has 10 s to end, of which waiting for the lock on the node may take 5.
DEADLINE: Final = 3.0
# The Role or the ServiceAccount is deleted. A wrong guess costs pulls past the mirror until the next agent writes
# hosts.toml again; hosts.toml of a dead mirror costs 2 minutes for each pull.
REMOVED_CODES: Final = frozenset({401, 403, 404})


def removal_reason(api: ApiClient, settings: Settings, *, seen: bool) -> str:
    """Return why the mirror counts as removed; an empty string if it stays.

    `seen` is True if the watch saw the Service removed; it decides if the API server does not answer in time.
    """
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(_reason(api, settings, seen=seen)), daemon=True)
    try:
        thread.start()
        thread.join(DEADLINE)
    except RuntimeError:  # no thread left on the node
        pass
    return answers[0] if answers else _last_seen(seen=seen)


def _reason(api: ApiClient, settings: Settings, *, seen: bool) -> str:
    path = f"/api/v1/namespaces/{settings.namespace}"
    try:
        # The Namespace first: if the Role is deleted between both requests, the later one is refused and counts.
        if reason := _namespace_reason(api, path):
            return reason
        services = api.get(f"{path}/services", {"fieldSelector": f"metadata.name={settings.service}"})["items"]
        return "Service deleted" if parse_endpoints(services, None).removed else ""
    except ApiError as error:
        return str(error) if error.status in REMOVED_CODES else _last_seen(seen=seen)
    except Exception:  # noqa: BLE001 (the boundary: the body may be anything)
        return _last_seen(seen=seen)


def _namespace_reason(api: ApiClient, path: str) -> str:
    """Return why the Namespace counts as removed; an empty string if it stays or is unknown.

    A refusal is unknown: the Role may be older than the agent, and lack the right to read the Namespace.
    """
    try:
        metadata = api.get(path)["metadata"]
    except ApiError as error:
        return str(error) if error.status == HTTPStatus.NOT_FOUND else ""
    return "Namespace terminating" if metadata.get("deletionTimestamp") else ""


def _last_seen(*, seen: bool) -> str:
    return "Service deleted" if seen else ""
