"""Parse a RegistryMirror by the rules of admission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import masquerade, names, upstream
from common.defaults import with_defaults
from common.model import RegistryMirrorSpec
from common.placement import AgentPods, CachePods
from common.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.field_errors import FieldError
    from common.types import Json


@dataclass(frozen=True, slots=True)
class Identity:
    """Name and UID of a mirror, even if its spec is invalid."""

    name: str
    uid: str

    @property
    def object_name(self) -> str:
        """Return the name of the mirror's objects."""
        return names.object_name(self.name)


@dataclass(frozen=True, slots=True)
class Source:
    """One upstream of a mirror. `secret` names the Secret with its credentials, `path` its place in the spec."""

    upstream: upstream.Upstream
    secret: str | None
    path: str


@dataclass(frozen=True, slots=True)
class Mirror(Identity):
    """Valid mirror. `claim` is the claim template as JSON, with defaults. `sources` has the first upstream first."""

    spec: RegistryMirrorSpec
    claim: Json
    sources: tuple[Source, ...]
    masquerade: str

    @property
    def upstream(self) -> upstream.Upstream:
        """Return the upstream of spec.upstreamUrl."""
        return self.sources[0].upstream

    @property
    def cache(self) -> CachePods:
        """Return the settings of the cache pods."""
        return self.spec.cache or CachePods()

    @property
    def agent(self) -> AgentPods:
        """Return the settings of the node agents."""
        return self.spec.agent or AgentPods()

    @property
    def storage(self) -> str:
        """Return the requested storage of each claim, as a quantity."""
        return str(self.claim["spec"]["resources"]["requests"]["storage"])


def identity_of(obj: Json) -> Identity:
    """Return name and UID of a stored object."""
    return Identity(obj["metadata"]["name"], obj["metadata"]["uid"])


def _sources(spec: RegistryMirrorSpec) -> Iterator[Source]:
    for number, each in enumerate(spec.upstreams):
        path = f"spec.additionalUpstreams[{number - 1}]" if number else "spec"
        yield Source(upstream.parse(each.upstream_url), each.credentials_secret, path)


def parse_mirror(obj: Json, masquerade_domains: tuple[str, ...]) -> Mirror | list[FieldError]:
    """Return the mirror, or all errors in it. It may have been stored without the webhook."""
    # Labels are checked at admission only; a wrong one must not stop a mirror.
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
        sources=tuple(_sources(spec)),
        masquerade=spec.masquerade_url or masquerade.default_of(spec.upstream_url),
    )
