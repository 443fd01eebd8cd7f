"""Compute UpstreamReachable and CredentialsAvailable from what the cache pods say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import names
from common.cache_protocol import CredentialsResult
from common.defaults import dict_at
from controller.model.condition import CREDENTIALS_AVAILABLE, UPSTREAM_REACHABLE, Condition, existing_conditions
from controller.model.inputs import CredentialsState
from controller.status import reasons

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.model.observation import Verdict


_WITHOUT: Final = {
    CredentialsState.SECRET_MISSING: reasons.SECRET_MISSING,
    CredentialsState.SECRET_NOT_OPTED_IN: reasons.SECRET_NOT_OPTED_IN,
    CredentialsState.SECRET_INCOMPLETE: reasons.SECRET_INCOMPLETE,
}
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


def upstream_reachable(obj: Json, mirror: Mirror, verdict: Verdict | None) -> Condition:
    """Return UpstreamReachable. Before the first answer the last published condition stays."""
    if verdict is not None:
        return verdict.cause.condition(verdict.message)
    last = _last(obj, mirror, UPSTREAM_REACHABLE)
    return last or reasons.NOT_ASKED.condition("The controller has not asked the cache pods yet.")


def credentials_available(
    obj: Json, mirror: Mirror, namespace: str, inputs: Inputs, verdict: Verdict | None
) -> Condition:
    """Return CredentialsAvailable from the Secret and from the upstream's answer to it.

    While no cache pod has asked the upstream, the last published answer stays.
    """
    state = inputs.credentials.state
    secret = f"Secret {namespace}/{mirror.spec.credentials_secret}"
    if state in _WITHOUT:
        return _WITHOUT[state].condition(_without(state, mirror, secret))
    results = _RESULTS[state]
    if verdict is not None and verdict.login in results:
        return results[verdict.login].condition(_with_login(verdict.login, mirror.upstream.url, secret))
    if verdict is None or verdict.cause is reasons.NOT_ASKED:
        last = _last(obj, mirror, CREDENTIALS_AVAILABLE)
        if last is not None and last.reason in {reason.name for reason in results.values()}:
            return last
    if state is CredentialsState.FOUND:
        return reasons.CREDENTIALS_FOUND.condition(f"{secret} has username and password.")
    return reasons.CREDENTIALS_NOT_REQUIRED.condition("The mirror names no Secret. The cache pulls anonymously.")


def _without(state: CredentialsState, mirror: Mirror, secret: str) -> str:
    return {
        CredentialsState.SECRET_MISSING: (
            f"{secret} does not exist. The cache pulls anonymously. Create it with username and password."
        ),
        CredentialsState.SECRET_NOT_OPTED_IN: (
            f"{secret} does not list {mirror.upstream.authority} in its annotation {names.GROUP}/upstreams."
            " SECRET_OPT_IN requires it. The cache pulls anonymously."
        ),
        CredentialsState.SECRET_INCOMPLETE: (
            f"{secret} has no username and password for {mirror.upstream.image_host}. The cache pulls anonymously."
            " Set both. A Secret of type kubernetes.io/dockerconfigjson needs an entry for that host."
        ),
    }[state]


def _with_login(login: CredentialsResult, url: str, secret: str) -> str:
    return {
        CredentialsResult.ACCEPTED: f"{url} accepts the credentials in {secret}.",
        CredentialsResult.REFUSED: (
            f"{url} refuses the credentials in {secret}. Correct them. Caches use the new ones within two minutes,"
            " without a restart."
        ),
        CredentialsResult.REQUIRED: (
            f"{url} requires credentials. Create a Secret with username and password. Name it in"
            " spec.credentialsSecret."
        ),
        CredentialsResult.NOT_VERIFIED: (
            f"{url} gives anonymous tokens for single images only. If pulls fail, name a Secret in"
            " spec.credentialsSecret."
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
