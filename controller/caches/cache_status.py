"""Parse the status of cache pods, and combine it to the state of a mirror's upstream. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from common.cache_protocol import STATUS_PORT, CredentialsResult, UpstreamReason
from common.defaults import dict_at
from controller.model.condition import one_line
from controller.model.observation import Verdict
from controller.status import reasons

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from controller.model.condition import Reason

    # The upstreams of each pod; None for a pod that does not answer.
    Answers = Mapping[str, tuple["UpstreamAnswer", ...] | None]

MESSAGE_MAX: Final = 400  # characters of a cache's message
# Seconds. The time of the next request is named within these bounds only: a shorter pause would change the text every
# minute, and no cache pauses for longer.
_NAMED_PAUSE: Final = (60.0, 86_400.0)
_REASONS: Final[dict[str, Reason]] = {
    each.name: each for each in reasons.every() if each.type == reasons.REACHABLE.type
}
_LOGINS: Final = [each.value for each in CredentialsResult]  # no set: an answer may hold an unhashable value
# If pods differ, the first of these counts.
_WORST_FIRST: Final = (
    CredentialsResult.REFUSED,
    CredentialsResult.REQUIRED,
    CredentialsResult.NOT_VERIFIED,
    CredentialsResult.ACCEPTED,
    CredentialsResult.NOT_CHECKED,
)


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """The state of one upstream in one cache pod. `paused_until` is a minute in UTC, as HH:MM."""

    url: str
    cause: Reason
    message: str
    login: CredentialsResult = CredentialsResult.NOT_CHECKED
    paused_until: str = ""


def parse_status(status: object, now: datetime) -> tuple[UpstreamAnswer, ...] | None:
    """Return the upstreams in the status of a cache pod.

    Return None for the answer of another program: the address may be reused.
    """
    entries = status.get("upstreams") if isinstance(status, dict) else None
    if not isinstance(entries, list):
        return None
    return tuple(answer for each in entries if isinstance(each, dict) and (answer := _parsed(each, now)))


def _parsed(entry: Mapping[str, object], now: datetime) -> UpstreamAnswer | None:
    url, reason, message, login = (entry.get(key) for key in ("url", "reason", "message", "credentials"))
    if not (isinstance(url, str) and isinstance(reason, str) and isinstance(message, str)):
        return None
    return UpstreamAnswer(
        url=url,
        # A cache of another version may have a reason that is unknown here.
        cause=_REASONS.get(reason, reasons.SERVER_ERROR),
        message=one_line(message, MESSAGE_MAX),
        login=CredentialsResult(login) if login in _LOGINS else CredentialsResult.NOT_CHECKED,
        paused_until=_minute(entry.get("retryAfterSeconds"), now) if reason == UpstreamReason.RATE_LIMITED else "",
    )


def _minute(pause: object, now: datetime) -> str:
    """Return the first whole minute after the pause, which is the same in all answers; empty without a long pause."""
    shortest, longest = _NAMED_PAUSE
    if not isinstance(pause, int | float) or not shortest < pause < longest:
        return ""
    return f"{now.astimezone(UTC) + timedelta(seconds=pause + 60):%H:%M}"


@dataclass(frozen=True, slots=True)
class PodReport:
    """Clients and volume of one cache pod.

    `nodes` are hashes of pulling nodes, `has_unmatched` means that a client has no node. `shares_addresses`: several
    nodes ask from one address. `volume_problem` is a sentence about an unusable volume.
    """

    nodes: frozenset[str] = frozenset()
    has_unmatched: bool = False
    shares_addresses: bool = False
    volume_problem: str = ""


def parse_report(status: object) -> PodReport | None:
    """Return clients and volume in the status of a cache pod, or None without clients."""
    clients = status.get("clients") if isinstance(status, dict) else None
    nodes = clients.get("nodes") if isinstance(clients, dict) else None
    if not isinstance(clients, dict) or not isinstance(nodes, list):
        return None
    named = frozenset(each for each in nodes if isinstance(each, str))
    problem = _volume_problem(dict_at(status, "space"))
    return PodReport(named, bool(clients.get("unmatched")), bool(clients.get("shared")), problem)


def _volume_problem(space: Mapping[str, object]) -> str:
    """Return a sentence about a volume that takes no content, or an empty string."""
    error = space.get("writeError")
    if isinstance(error, str) and error:
        return f"The volume cannot be written: {one_line(error, MESSAGE_MAX)}."
    return "The volume is full of files that the cache did not store." if space.get("crowded") is True else ""


def pulling_nodes(reports: Collection[PodReport]) -> int | None:
    """Return the number of pulling nodes. None means that addresses do not show the nodes."""
    nodes = frozenset[str]().union(*(each.nodes for each in reports))
    if not reports or any(each.shares_addresses for each in reports):
        return None
    return None if not nodes and any(each.has_unmatched for each in reports) else len(nodes)


def verdict_of(url: str, answers: Answers) -> Verdict:
    """Return the state of the upstream `url` by the answers of all cache pods."""
    known = {pod: upstreams for pod, upstreams in answers.items() if upstreams is not None}
    found = {pod: each for pod, upstreams in sorted(known.items()) for each in upstreams if each.url == url}
    if not found:
        return _unserved(is_switching=bool(known))
    login = min((each.login for each in found.values()), key=_WORST_FIRST.index)
    for pod, answer in found.items():
        if answer.cause.status == "False":
            return Verdict(answer.cause, _failure(pod, answer, found), login)
    if any(answer.cause is reasons.REACHABLE for answer in found.values()):
        return Verdict(reasons.REACHABLE, f"{url} answers.", login)
    return Verdict(reasons.NOT_ASKED, f"No cache pod has asked {url} yet.", login)


def _unserved(*, is_switching: bool) -> Verdict:
    if is_switching:
        message = "The cache pods have not read the new configuration yet. A kubelet needs up to two minutes for it."
    else:
        message = (
            f"No cache pod answers the controller at port {STATUS_PORT}."
            " If cache pods are ready, admit the controller in the network policies."
        )
    return Verdict(reasons.NOT_ASKED, message, is_switching=is_switching)


def _failure(pod: str, answer: UpstreamAnswer, found: Mapping[str, UpstreamAnswer]) -> str:
    """Return a message. It names the pod if another pod reports something else."""
    differ = any(each.cause is not answer.cause for each in found.values())
    subject = f"{pod}: " if differ else ""
    pause = f" The cache asks again at {answer.paused_until} UTC." if answer.paused_until else ""
    return f"{subject}{answer.message}{pause} The cache serves what it has stored."
