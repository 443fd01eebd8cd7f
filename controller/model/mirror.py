"""A RegistryMirror as the controller works with it: judged by the same rules as at admission, then parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import names, upstream
from common.defaults import with_defaults
from common.model import RegistryMirrorSpec
from common.validation import validate

if TYPE_CHECKING:
    from common.field_errors import FieldError
    from common.types import Json


@dataclass(frozen=True, slots=True)
class Identity:
    """Which mirror it is, whatever its spec says."""

    name: str
    uid: str

    @property
    def object_name(self) -> str:
        """Name of what is made for it."""
        return names.object_name(self.name)


@dataclass(frozen=True, slots=True)
class Mirror(Identity):
    """A valid mirror. `claim` is the claim template as raw JSON, with its defaults filled in."""

    spec: RegistryMirrorSpec
    claim: Json
    upstream: upstream.Upstream
    masquerade: str

    @property
    def storage(self) -> str:
        """What each claim is to ask for, as a quantity."""
        return str(self.claim["spec"]["resources"]["requests"]["storage"])


def identity_of(obj: Json) -> Identity:
    """Which mirror a stored object is."""
    return Identity(obj["metadata"]["name"], obj["metadata"]["uid"])


def parse_mirror(obj: Json, masquerade_domains: tuple[str, ...]) -> Mirror | list[FieldError]:
    """The mirror, or everything that is wrong with it: one may have been stored while no webhook watched."""
    # Labels are admission's business: a wrong one must not keep a mirror from being followed.
    unlabelled = {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "labels"}}
    problems = validate(unlabelled, masquerade_domains=masquerade_domains)
    if problems:
        return problems
    complete = with_defaults(obj)["spec"]
    spec = RegistryMirrorSpec.model_validate(complete)
    return Mirror(
        name=obj["metadata"]["name"],
        uid=obj["metadata"]["uid"],
        spec=spec,
        claim=complete["volumeClaimTemplate"],
        upstream=upstream.parse(spec.upstream_url),
        masquerade=spec.masquerade_url or names.default_masquerade(upstream.parse_literal(spec.upstream_url).host),
    )
