"""The conditions about the upstream: what its last answers mean for this mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import names
from common.defaults import dict_at
from controller.model.condition import CREDENTIALS_AVAILABLE, UPSTREAM_REACHABLE, Condition, existing_conditions
from controller.model.inputs import CredentialsState
from controller.model.observation import NOT_PROBED, Login

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.model.observation import Verdict


_LOGINS = frozenset(login.value for login in Login)


def upstream_reachable(obj: Json, mirror: Mirror, verdict: Verdict | None) -> Condition:
    """Whether pulls can come from the upstream. Until it has answered, what an earlier controller saw stands."""
    if verdict is not None:
        return Condition(UPSTREAM_REACHABLE, verdict.status, verdict.reason, verdict.message)
    last = _last(obj, mirror, UPSTREAM_REACHABLE)
    if last is not None:
        return last
    return Condition(UPSTREAM_REACHABLE, "Unknown", NOT_PROBED, f"{mirror.upstream.url} has not answered yet.")


def credentials_available(
    obj: Json, mirror: Mirror, namespace: str, inputs: Inputs, verdict: Verdict | None
) -> Condition:
    """Whether the credentials that were asked for are there, and what the upstream says of them."""
    state = inputs.credentials.state
    where = f"Secret {namespace}/{mirror.spec.credentials_secret}"
    if state not in (CredentialsState.FOUND, CredentialsState.NOT_REQUIRED):
        return Condition(CREDENTIALS_AVAILABLE, "False", state.value, _why_none(state, mirror, where))
    if verdict is None:
        last = _last(obj, mirror, CREDENTIALS_AVAILABLE)
        if last is not None and last.reason in _LOGINS:
            return last
    login = None if verdict is None else verdict.login
    if login is None:
        found = f"{where} has username and password."
        none = "No credentials are asked for; the upstream is used anonymously."
        return Condition(CREDENTIALS_AVAILABLE, "True", state.value, found if state is CredentialsState.FOUND else none)
    return _said(login, mirror.upstream.url, where)


def _why_none(state: CredentialsState, mirror: Mirror, where: str) -> str:
    return {
        CredentialsState.SECRET_MISSING: f"{where} does not exist; pulls go without credentials until it does.",
        CredentialsState.SECRET_NOT_OPTED_IN: (
            f"{where} does not name {mirror.upstream.authority} in its annotation {names.GROUP}/upstreams, as"
            " SECRET_OPT_IN demands; pulls go without credentials until it does."
        ),
        CredentialsState.SECRET_INCOMPLETE: (
            f"{where} lacks username or password, or one of them is empty or no UTF-8;"
            " pulls go without credentials until both are there."
        ),
    }[state]


def _said(login: Login, url: str, where: str) -> Condition:
    status, message = {
        Login.ACCEPTED: ("True", f"{where} has username and password, and {url} takes them."),
        Login.REFUSED: (
            "False",
            (
                f"{url} refuses username and password of {where}; put the right ones there: caches use them"
                " within some three minutes, without a restart."
            ),
        ),
        Login.REQUIRED: (
            "False",
            (
                f"{url} wants username and password, and the mirror has none: make a Secret with both and name it in"
                " spec.credentialsSecret."
            ),
        ),
        Login.UNCLEAR: (
            "Unknown",
            (
                f"{url} gives nobody a token without credentials unless an image is named; should pulls fail, name a"
                " Secret in spec.credentialsSecret."
            ),
        ),
    }[login]
    return Condition(CREDENTIALS_AVAILABLE, status, login.value, message)


def _last(obj: Json, mirror: Mirror, kind: str) -> Condition | None:
    """The condition as it was last published about this spec; None where there is none, or it was not asked for."""
    status = dict_at(obj, "status")
    same = status.get("observedGeneration") == obj["metadata"].get("generation")
    if not same or status.get("upstream") != mirror.upstream.url:
        return None
    for each in existing_conditions(obj):
        if each["type"] == kind and each.get("reason") != NOT_PROBED:
            return Condition(kind, each["status"], each.get("reason", ""), each.get("message", ""))
    return None
