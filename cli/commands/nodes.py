"""Show how each node uses a mirror: by its agent, or why it has none."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from cli.kubectl import KubectlError
from cli.objects import (
    AGENT,
    CACHE,
    COMPONENT_LABEL,
    age_of,
    at,
    is_ready,
    label,
    name_of,
    restarts,
    selector,
    waiting_reason,
)
from cli.output import Column, Listing

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from cli.kubectl import Json
    from cli.session import Session

# Logs that are read at a time, and the lines of each.
_READERS: Final = 8
_ALL: Final = ("--all-containers", "--tail=200")
# Event of the agent's log with its state, reason and message.
STATE_EVENT: Final = "node state changed"
CONFIGURED: Final = "configured"

COLUMNS: Final = (
    Column("NODE", lambda item: item["node"]),
    Column("STATE", lambda item: item["state"]),
    Column("REASON", lambda item: item["reason"]),
    Column("AGENT", lambda item: item["agent"]),
    Column("RESTARTS", lambda item: item["restarts"]),
    Column("AGE", lambda item: item["age"]),
    Column("RUNTIME", lambda item: item["runtime"], wide=True),
    Column("MESSAGE", lambda item: item["message"], wide=True),
)


def run(session: Session, options: Namespace) -> int:
    """Print the nodes. Messages of nodes that are not configured go to stderr, unless the output has them."""
    session.mirror(options.name)
    items = nodes_of(session, options.name)
    session.print(Listing(COLUMNS, items, lambda item: f"node/{item['node']}"), "No node has an agent of this mirror.")
    if session.form == "table":
        for each in items:
            if each["state"] != CONFIGURED and each["message"]:
                session.hint(f"{each['node']}: {each['message']}")
    return 0


def nodes_of(session: Session, mirror: str) -> list[Json]:
    """Return one item for each agent of a mirror and its node."""
    found = session.kubectl.items("pods", f"--namespace={session.namespace}", f"--selector={selector(mirror)}")
    pods = [each for each in found if label(each, COMPONENT_LABEL) == AGENT]
    ready = state_of_ready(each for each in found if label(each, COMPONENT_LABEL) == CACHE)
    runtimes = _runtimes(session)
    with ThreadPoolExecutor(_READERS) as readers:
        states = list(readers.map(lambda pod: ready if is_ready(pod) else _state(session, pod), pods))
    items = [
        {
            "node": node_of(pod),
            **state,
            "agent": name_of(pod),
            "restarts": restarts(pod),
            "age": age_of(pod, session.now),
            "runtime": runtimes.get(node_of(pod), ""),
        }
        for pod, state in zip(pods, states, strict=True)
    ]
    return sorted(items, key=lambda item: (item["state"] == CONFIGURED, item["node"]))


def node_of(pod: Json) -> str:
    """Return the node of an agent. The pod of a DaemonSet names it before it is scheduled."""
    if node := at(pod, "spec", "nodeName"):
        return str(node)
    path = ("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    return str(at(pod, *path, 0, "matchFields", 0, "values", 0, default=""))


def _runtimes(session: Session) -> dict[str, str]:
    """Return the container runtime of each node; empty if the user may not list nodes."""
    try:
        nodes = session.kubectl.items("nodes")
    except KubectlError:
        return {}
    return {name_of(each): at(each, "status", "nodeInfo", "containerRuntimeVersion", default="") for each in nodes}


def state_of_ready(caches: Iterable[Json]) -> Json:
    """Return the state of nodes with a ready agent, which is ready also while it waits for a cache pod."""
    if any(map(is_ready, caches)):
        return {"state": CONFIGURED, "reason": "Configured", "message": "The node uses the mirror."}
    message = "No cache pod is ready. Pulls go to the upstream until one is."
    return {"state": CONFIGURED, "reason": "MirrorAway", "message": message}


def _state(session: Session, pod: Json) -> Json:
    reason, message = waiting_reason(pod)
    if reason:
        return {"state": "no agent", "reason": reason, "message": message}
    try:
        log = session.kubectl.text("logs", name_of(pod), f"--namespace={session.namespace}", *_ALL)
    except KubectlError as error:
        return {"state": "unknown", "reason": "NoLog", "message": f"The log of the agent cannot be read: {error}"}
    return last_state(log)


def last_state(log: str) -> Json:
    """Return the last state that the log of an agent has."""
    for line in reversed(log.splitlines()):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and entry.get("event") == STATE_EVENT:
            return {key: str(entry.get(key, "")) for key in ("state", "reason", "message")}
    return {"state": "pending", "reason": "Starting", "message": "The agent has not reported a state yet."}
