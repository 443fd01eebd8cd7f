"""Define the inputs of the desired state that are read from the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.model.condition import Condition


class CredentialsState(Enum):
    """State of the credentials of an upstream."""

    NOT_REQUIRED = auto()
    FOUND = auto()
    SECRET_MISSING = auto()
    SECRET_NOT_OPTED_IN = auto()
    SECRET_INCOMPLETE = auto()


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password for an upstream; both are empty for anonymous pulls.

    `lacking` names the key that an incomplete Secret lacks; empty if it lacks both. The values stay in base64, as
    the user's Secret holds them: a password may have any bytes.
    """

    state: CredentialsState
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """Serving certificate of a cache. `ca` is the PEM bundle for nodes, `secret` the user's Secret.

    `again` is in seconds: the time of the next renewal or rotation step.
    """

    ca: str
    pair: KeyPair = field(repr=False)
    secret: str | None = None
    again: float | None = None
    validity: Condition | None = None


@dataclass(frozen=True, slots=True)
class MissingInput:
    """Input without which no cache can be built. `reason` and `message` are for the condition.

    `rest` holds the other inputs, for objects that do not need this one.
    """

    reason: str
    message: str
    rest: Inputs | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of one mirror.

    `credentials` are those of each upstream. `masquerade_holder` is an older mirror with the same masqueradeUrl. If
    `hides_registry`, it is a mirror of the registry whose name this masqueradeUrl is.
    `images_holders` names the older mirror that has an image host, for each such host of this mirror.
    `withdrawing`: the mirror lost its host name, and agents still remove it from the nodes.
    """

    credentials: tuple[Credentials, ...]
    tls: ServingCertificate
    masquerade_holder: str | None = None
    hides_registry: bool = False
    images_holders: dict[str, str] = field(default_factory=dict)
    withdrawing: bool = False


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str = field(repr=False)
