"""Build the RegistryMirrors of a benchmark and the objects that the controller creates for them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from common import names
from common.field_errors import FieldError
from controller.certificates.x509 import issue_ca, issue_certificate
from controller.desired import desired_objects
from controller.model.inputs import Credentials, CredentialsState, Inputs, ServingCertificate
from controller.model.mirror import Mirror, parse_mirror
from controller.objects.resources import DAEMON_SET, SERVICE, STATEFUL_SET, Kind
from controller.settings import ControllerSettings
from tests.localcluster.system import NAMESPACE

if TYPE_CHECKING:
    from common.types import Json
    from controller.model.inputs import KeyPair


# Kinds of the four objects that the peers create: two are Services. Ours creates a Secret and a disruption budget too.
PEERS_KINDS: Final = frozenset({SERVICE, STATEFUL_SET, DAEMON_SET})


def mirror_name(number: int) -> str:
    """Return the name of a mirror."""
    return f"bench-{number:04d}"


def a_mirror(number: int) -> Json:
    """Return a RegistryMirror as a user writes it. Each has another upstream, so no two conflict."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": mirror_name(number)},
        "spec": {"upstreamUrl": f"registry-{number:04d}.example.com"},
    }


def objects_of(count: int) -> list[tuple[Kind, Json]]:
    """Return the objects that the controller creates for `count` mirrors, six each, in its order."""
    now = datetime.now(UTC)
    ca = issue_ca("benchmark", now)
    settings = ControllerSettings.model_validate({"NAMESPACE": NAMESPACE})
    return [each for number in range(count) for each in _objects(number, settings, ca, now)]


def peers_objects(objects: list[tuple[Kind, Json]]) -> list[tuple[Kind, Json]]:
    """Return the objects that the peers create too, four of six."""
    return [(kind, body) for kind, body in objects if kind in PEERS_KINDS]


def _objects(number: int, settings: ControllerSettings, ca: KeyPair, now: datetime) -> list[tuple[Kind, Json]]:
    mirror = _parsed(number)
    hosts = (mirror.masquerade, *names.service_hosts(mirror.name, settings.namespace))
    tls = ServingCertificate(ca.certificate, issue_certificate(ca, hosts, now))
    return desired_objects(mirror, settings, Inputs((Credentials(CredentialsState.NOT_REQUIRED),), tls))


def _parsed(number: int) -> Mirror:
    obj = a_mirror(number)
    obj["metadata"]["uid"] = str(uuid.uuid4())
    found = parse_mirror(obj, ())
    if isinstance(found, list):
        raise ValueError("; ".join(map(FieldError.__str__, found)))
    return found
