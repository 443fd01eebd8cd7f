"""Parse the status of cache pods, and combine what they say of a mirror's upstream. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from common import cache_protocol
from common.cache_protocol import CredentialsResult, UpstreamReason
from controller.model.condition import one_line
from controller.model.observation import Verdict
from controller.status import reasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.model.condition import Reason

MESSAGE_MAX: Final = 400  # characters of a cache's message
_REASONS: Final[dict[str, Reason]] = {
    each.name: each for each in reasons.every() if each.type == reasons.REACHABLE.type
}
_LOGINS: Final = [each.value for each in CredentialsResult]
# The worst result of several pods counts.
_WORST: Final = (
    CredentialsResult.REFUSED,
    CredentialsResult.REQUIRED,
    CredentialsResult.NOT_VERIFIED,
    CredentialsResult.ACCEPTED,
)
_MEANWHILE: Final = "The cache serves what it has stored."


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """Describe one upstream as one cache pod reports it. `paused_until` is a minute in UTC, as HH:MM."""

    url: str
    cause: Reason
    message: str
    login: CredentialsResult
    paused_until: str = ""


def parse_status(status: object, now: datetime) -> tuple[UpstreamAnswer, ...] | None:
    """Return the upstreams in the status of a cache pod; None if it is none. Another program may have the address."""
    entries = status.get("upstreams") if isinstance(status, dict) else None
    if not isinstance(entries, list):
        return None
    return tuple(_parsed(each, now) for each in entries if isinstance(each, dict))


def _parsed(entry: Mapping[str, object], now: datetime) -> UpstreamAnswer:
    reason, login, message = (entry.get(key) for key in ("reason", "credentials", "message"))
    wait = entry.get("retryAfterSeconds")
    limited = reason == UpstreamReason.RATE_LIMITED and isinstance(wait, int | float)
    return UpstreamAnswer(
        url=str(entry.get("url")),
        # A cache of another version may have a reason that is unknown here.
        cause=_REASONS.get(str(reason), reasons.SERVER_ERROR),
        message=one_line(str(message), MESSAGE_MAX),
        login=CredentialsResult(login) if login in _LOGINS else CredentialsResult.NOT_CHECKED,
        paused_until=_minute(now, float(str(wait))) if limited else "",
    )


def _minute(now: datetime, seconds: float) -> str:
    """Return the first whole minute after the pause, so that the text does not change with every answer."""
    end = now.astimezone(UTC) + timedelta(seconds=min(seconds, 86_400.0) if math.isfinite(seconds) else 0.0)
    return f"{end.replace(second=0) + timedelta(minutes=1):%H:%M}"


def verdict_of(url: str, answers: Mapping[str, tuple[UpstreamAnswer, ...] | None]) -> Verdict:
    """Return what the cache pods say of the upstream `url`. `answers` has None for a pod that does not answer."""
    known = {pod: answer for pod, answer in answers.items() if answer is not None}
    found = {pod: each for pod, answer in sorted(known.items()) for each in answer if each.url == url}
    if not found:
        return _nothing(known)
    login = next((each for each in _WORST if any(answer.login is each for answer in found.values())), None)
    for pod, answer in found.items():
        if answer.cause.status == "False":
            return Verdict(answer.cause, _failure(pod, answer, found), login)
    if any(answer.cause is reasons.REACHABLE for answer in found.values()):
        return Verdict(reasons.REACHABLE, f"{url} answers.", login)
    return Verdict(reasons.NOT_ASKED, f"No cache pod has asked {url} yet.")


def _nothing(known: Mapping[str, object]) -> Verdict:
    if not known:
        message = (
            f"No cache pod answers the controller at port {cache_protocol.STATUS_PORT}."
            " If cache pods are ready, admit the controller in the network policies."
        )
        return Verdict(reasons.NOT_ASKED, message)
    message = "The cache pods have not read the new configuration yet. A kubelet needs up to two minutes for it."
    return Verdict(reasons.NOT_ASKED, message, is_former=True)


def _failure(pod: str, answer: UpstreamAnswer, found: Mapping[str, UpstreamAnswer]) -> str:
    """Return a message. It names the pod if the upstream answers another one."""
    differ = any(each.cause is not answer.cause for each in found.values())
    subject = f"{pod}: " if differ else ""
    pause = f" The cache asks again at {answer.paused_until} UTC." if answer.paused_until else ""
    return f"{subject}{answer.message}{pause} {_MEANWHILE}"
