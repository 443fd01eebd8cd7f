"""Compute UpstreamReachable and CredentialsAvailable from what the cache pods say. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from common import names
from common.cache_protocol import CredentialsResult
from common.defaults import dict_at
from controller.model.condition import (
    CREDENTIALS_AVAILABLE,
    UPSTREAM_REACHABLE,
    Condition,
    existing_conditions,
    one_line,
)
from controller.model.inputs import CredentialsState
from controller.status import reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.types import Json
    from controller.model.inputs import Credentials, Inputs
    from controller.model.mirror import Mirror, Source
    from controller.model.observation import Verdict


_WITHOUT: Final = {
    CredentialsState.SECRET_MISSING: reasons.SECRET_MISSING,
    CredentialsState.SECRET_NOT_OPTED_IN: reasons.SECRET_NOT_OPTED_IN,
    CredentialsState.SECRET_INCOMPLETE: reasons.SECRET_INCOMPLETE,
}
# Upstreams with a sentence in a message, and characters of each. The others are named.
SENTENCES_MAX: Final = 3
SENTENCE_MAX: Final = 250
# A rate limit ends by itself, and it has an alert of its own. It must not hide an upstream that is down.
_LAST_OF_STATUS: Final = (reasons.RATE_LIMITED.name, reasons.CREDENTIALS_ACCEPTED.name)
# A cache with other credentials than those of the Secret has not read them yet. Its result does not count.
_RESULTS: Final = {
    CredentialsState.FOUND: {
        CredentialsResult.ACCEPTED: reasons.CREDENTIALS_ACCEPTED,
        CredentialsResult.REFUSED: reasons.CREDENTIALS_REFUSED,
    },
    CredentialsState.NOT_REQUIRED: {
        CredentialsResult.REQUIRED: reasons.CREDENTIALS_REQUIRED,
        CredentialsResult.NOT_VERIFIED: reasons.CREDENTIALS_NOT_VERIFIED,
    },
}


def upstream_reachable(obj: Json, mirror: Mirror, verdicts: Sequence[Verdict]) -> Condition:
    """Return UpstreamReachable. Before the first answers the last published condition stays."""
    if not verdicts:
        last = _last(obj, mirror, UPSTREAM_REACHABLE)
        return last or reasons.NOT_ASKED.condition("The controller has not asked the cache pods yet.")
    found = [each.cause.condition(each.message) for each in verdicts]
    if len(found) == 1:
        return found[0]
    hosts = [each.upstream.image_host for each in mirror.sources]
    failing = [each for each in zip(hosts, found, strict=True) if each[1].status != "True"]
    if not failing:
        return reasons.REACHABLE.condition(f"All {len(found)} upstreams answer.")
    return _combined(failing, f"{len(found) - len(failing)} of {len(found)} upstreams answer.")


def credentials_available(
    obj: Json, mirror: Mirror, namespace: str, inputs: Inputs, verdicts: Sequence[Verdict]
) -> Condition:
    """Return CredentialsAvailable from the Secrets and from the upstreams' answers to them.

    The last published answer stays while no cache pod has asked the upstreams, or one of those with a Secret.
    """
    found = [
        (source.upstream.image_host, _credentials(source, namespace, credentials, verdict))
        for source, credentials, verdict in zip_longest(mirror.sources, inputs.credentials, verdicts)
    ]
    if _are_unasked(inputs, verdicts):
        last = _last(obj, mirror, CREDENTIALS_AVAILABLE)
        if last is not None and last.reason in _answers(inputs):
            return last
    if len(found) == 1:
        return found[0][1]
    failing = [each for each in found if each[1].status != "True"]
    with_secret = [each for each in found if each[1].reason != reasons.CREDENTIALS_NOT_REQUIRED.name]
    return _combined(failing or with_secret) if with_secret else found[0][1]


def _by_status(condition: Condition) -> tuple[int, bool]:
    """Order conditions by what an administrator needs to know first."""
    return ("False", "Unknown", "True").index(condition.status), condition.reason in _LAST_OF_STATUS


def _combined(found: Sequence[tuple[str, Condition]], before: str = "") -> Condition:
    """Return one condition for several upstreams: the worst status, and a sentence for each."""
    ordered = sorted(found, key=lambda each: _by_status(each[1]))
    sentences = [f"{host}: {one_line(condition.message, SENTENCE_MAX)}" for host, condition in ordered[:SENTENCES_MAX]]
    further = ", ".join(f"{host} ({condition.reason})" for host, condition in ordered[SENTENCES_MAX:])
    message = " ".join([*([before] if before else []), *sentences, *([f"Further: {further}."] if further else [])])
    return replace(ordered[0][1], message=message)


def _credentials(source: Source, namespace: str, credentials: Credentials, verdict: Verdict | None) -> Condition:
    """Return the condition of one upstream."""
    state, secret = credentials.state, f"Secret {namespace}/{source.secret}"
    if state in _WITHOUT:
        return _WITHOUT[state].condition(_without(credentials, source, secret))
    if verdict is not None and verdict.login in _RESULTS[state]:
        return _RESULTS[state][verdict.login].condition(_with_login(verdict.login, source, secret))
    if state is CredentialsState.FOUND:
        return reasons.CREDENTIALS_FOUND.condition(f"{secret} has username and password.")
    return reasons.CREDENTIALS_NOT_REQUIRED.condition("The mirror names no Secret. The cache pulls anonymously.")


def _are_unasked(inputs: Inputs, verdicts: Sequence[Verdict]) -> bool:
    """Return True if no cache pod has asked the upstreams, or one of those with a Secret.

    An upstream that no cache pod serves yet does not count: the last answer says nothing about it.
    """
    unasked = [
        (credentials.state, verdict.is_switching)
        for credentials, verdict in zip(inputs.credentials, verdicts, strict=False)
        if verdict.cause is reasons.NOT_ASKED and verdict.login not in _RESULTS.get(credentials.state, {})
    ]
    return len(unasked) == len(verdicts) or (CredentialsState.FOUND, False) in unasked


def _answers(inputs: Inputs) -> set[str]:
    """Return the reasons that only an answer of an upstream gives; none if a Secret is incomplete."""
    states = {each.state for each in inputs.credentials}
    known = [] if states & _WITHOUT.keys() else [_RESULTS[state] for state in states]
    return {reason.name for results in known for reason in results.values()}


def _without(credentials: Credentials, source: Source, secret: str) -> str:
    host, url = source.upstream.image_host, source.upstream.url
    if credentials.lacking:
        return f"{secret} has no {credentials.lacking} for {host}. The cache pulls anonymously. Set it."
    # An entry without a scheme is for https, so that no account of it is sent in clear text.
    entry = url if url.startswith("http://") else host
    return {
        CredentialsState.SECRET_MISSING: (
            f"{secret} does not exist. The cache pulls anonymously. Create it with username and password."
        ),
        CredentialsState.SECRET_NOT_OPTED_IN: (
            f"{secret} does not list {source.upstream.authority} in its annotation {names.GROUP}/upstreams."
            " SECRET_OPT_IN requires it. The cache pulls anonymously."
        ),
        CredentialsState.SECRET_INCOMPLETE: (
            f"{secret} has no username and password for {host}. The cache pulls anonymously. Set both. A Secret of type"
            f" kubernetes.io/dockerconfigjson needs an entry for {entry}."
        ),
    }[credentials.state]


def _with_login(login: CredentialsResult, source: Source, secret: str) -> str:
    url, field = source.upstream.url, f"{source.path}.credentialsSecret"
    return {
        CredentialsResult.ACCEPTED: f"{url} accepts the credentials in {secret}.",
        CredentialsResult.REFUSED: (
            f"{url} refuses the credentials in {secret}. Correct them. Caches use the new ones within two minutes,"
            " without a restart."
        ),
        CredentialsResult.REQUIRED: (
            f"{url} requires credentials. Create a Secret with username and password. Name it in {field}."
        ),
        CredentialsResult.NOT_VERIFIED: (
            f"{url} gives anonymous tokens for single images only. If pulls fail, name a Secret in {field}."
        ),
    }[login]


def _last(obj: Json, mirror: Mirror, kind: str) -> Condition | None:
    """Return the condition last published for this spec and upstream; None if there is none."""
    status = dict_at(obj, "status")
    same = status.get("observedGeneration") == obj["metadata"].get("generation")
    if not same or status.get("upstream") != mirror.upstream.url:
        return None
    for each in existing_conditions(obj):
        if each["type"] == kind:
            return Condition(kind, each["status"], each.get("reason", ""), each.get("message", ""))
    return None
