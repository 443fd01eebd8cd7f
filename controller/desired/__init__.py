"""Build the objects of a mirror: a pure function of mirror, settings and inputs, one file per object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.desired.daemon_set import daemon_set
from controller.desired.pod_disruption_budget import budget
from controller.desired.secret import secret
from controller.desired.services import headless_service, service
from controller.desired.stateful_set import stateful_set
from controller.objects.resources import BUDGET, DAEMON_SET, SECRET, SERVICE, STATEFUL_SET, Kind

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import Inputs
    from controller.model.mirror import Mirror
    from controller.settings import ControllerSettings


def desired_objects(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> list[tuple[Kind, Json]]:
    """Return all objects of a mirror, in the order of applying."""
    return [
        (SECRET, secret(mirror, settings, inputs)),
        *_services(mirror, settings, inputs),
        (STATEFUL_SET, stateful_set(mirror, settings, inputs)),
        *_agents(mirror, settings, inputs),
    ]


def without_certificate(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> list[tuple[Kind, Json]]:
    """Return the objects that do not depend on a certificate or CA bundle."""
    return [*_services(mirror, settings, inputs), *_agents(mirror, settings, inputs)]


def _services(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> list[tuple[Kind, Json]]:
    return [
        (SERVICE, service(mirror, settings, inputs)),
        (SERVICE, headless_service(mirror, settings)),
        (BUDGET, budget(mirror, settings)),
    ]


def _agents(mirror: Mirror, settings: ControllerSettings, inputs: Inputs) -> list[tuple[Kind, Json]]:
    needed = inputs.masquerade_holder is None or inputs.withdrawing
    return [(DAEMON_SET, daemon_set(mirror, settings))] if needed else []
