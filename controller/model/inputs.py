"""What must be known of the cluster before the desired state can be written down: gathered first, passed in whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.model.condition import Condition


class CredentialsState(Enum):
    """How the credentials of a mirror are."""

    NOT_REQUIRED = "NotRequired"
    FOUND = "Found"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 (a reason, no secret)
    SECRET_NOT_OPTED_IN = "SecretNotOptedIn"  # noqa: S105 (the same)
    SECRET_INCOMPLETE = "SecretIncomplete"  # noqa: S105 (the same)


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password for the upstream; both empty where pulls go without."""

    state: CredentialsState
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """What the cache serves with. `authority` (PEM) is what nodes trust; `secret` names a person's own Secret.

    `again`: seconds until another look is due, as the certificate is to be renewed, or authorities change.
    """

    authority: str
    pair: KeyPair = field(repr=False)
    secret: str | None = None
    again: float | None = None
    validity: Condition | None = None


@dataclass(frozen=True, slots=True)
class MissingInput:
    """Something without which a cache cannot be built. `reason` and `message` are those of the condition.

    `rest` is all else, for what needs nothing of it: a person's mistake must not let that decay.
    """

    reason: str
    message: str
    rest: Inputs | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The world around one mirror.

    `masquerade_holder` is the older mirror that has this one's masqueradeUrl, `images_holder` the older one through
    which nodes pull this upstream's images; `bundle` the content of the CA bundle. `withdrawing`: the host name is
    lost, and there are agents yet that take the mirror off the nodes. `unmarked`: only pods without the label of their
    upstream serve.
    """

    credentials: Credentials
    tls: ServingCertificate
    bundle: str | None = None
    masquerade_holder: str | None = None
    images_holder: str | None = None
    withdrawing: bool = False
    unmarked: bool = False


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str = field(repr=False)
