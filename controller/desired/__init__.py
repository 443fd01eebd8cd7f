"""The desired state of a mirror: a pure function of the mirror, the settings and the facts, one file an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.desired.budget import budget
from controller.desired.daemon_set import daemon_set
from controller.desired.secret import secret
from controller.desired.services import headless_service, service
from controller.desired.stateful_set import stateful_set
from controller.kinds import BUDGET, DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind

if TYPE_CHECKING:
    from controller.facts import Facts
    from controller.mirror import Mirror
    from controller.settings import ControllerSettings

Json = dict[str, Any]


def desired_objects(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> list[tuple[Kind, Json]]:
    """All that is to exist for a mirror, in the order of applying."""
    return [
        (SECRET, secret(mirror, settings, facts)),
        *_reached(mirror, settings, facts),
        (STATEFUL_SET, stateful_set(mirror, settings, facts)),
        *_agents(mirror, settings, facts),
    ]


def without_certificate(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> list[tuple[Kind, Json]]:
    """Those in which neither certificate nor CA bundle has a part."""
    return [*_reached(mirror, settings, facts), *_agents(mirror, settings, facts)]


def _reached(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> list[tuple[Kind, Json]]:
    return [
        (SERVICE, service(mirror, settings, cleaning=facts.masquerade_holder is not None, unmarked=facts.unmarked)),
        (SERVICE, headless_service(mirror, settings)),
        (BUDGET, budget(mirror, settings)),
    ]


def _agents(mirror: Mirror, settings: ControllerSettings, facts: Facts) -> list[tuple[Kind, Json]]:
    wanted = facts.masquerade_holder is None or facts.withdrawing
    return [(DAEMON_SET, daemon_set(mirror, settings, facts))] if wanted else []
