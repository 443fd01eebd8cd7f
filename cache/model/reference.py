"""Parse the paths of the OCI distribution API.

Every name, tag and digest passes one of the patterns below before it comes near a file path or an upstream URL.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cache.model.errors import BAD_REQUEST, NOT_FOUND, RegistryError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_RESOURCE: Final = r"(?P<name>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<reference>[^/]+)"
_PATH: Final = re.compile(rf"/v2/{_RESOURCE}", re.DOTALL)
_PATH_WITH_HOST: Final = re.compile(rf"/v2/(?P<host>[^/]+)/(?P<rest>{_RESOURCE})", re.DOTALL)
# The header that names the digest of a response, and the one that names the API.
DIGEST_HEADER: Final = "Docker-Content-Digest"
VERSION_HEADER: Final = "Docker-Distribution-Api-Version"
API_VERSION: Final = {VERSION_HEADER: "registry/2.0"}
# Characters of a repository name; the limit of Docker Hub and of distribution.
NAME_MAX: Final = 255
# Characters of a path: the longest name, the longest digest and what lies between.
PATH_MAX: Final = 512


class Kind(StrEnum):
    """Kind of resource."""

    MANIFEST = "manifests"
    BLOB = "blobs"
    REFERRERS = "referrers"
    TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Digest:
    """A content address that matched the grammar."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    def matches(self, content: bytes) -> bool:
        """Return True if the content has this digest."""
        return hashlib.new(self.algorithm, content).hexdigest() == self.hex


@dataclass(frozen=True, slots=True)
class Reference:
    """One resource of one repository. `digest` is None for a tag and for the list of tags."""

    kind: Kind
    name: str
    reference: str
    digest: Digest | None = None

    @property
    def path(self) -> str:
        """Return the path of the resource at any registry."""
        return f"/v2/{self.name}/{self.kind.value}/{self.reference}"

    def at(self, digest: Digest) -> Reference:
        """Return the manifest or blob of the same repository with this digest."""
        return Reference(self.kind, self.name, str(digest), digest)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one resource. `is_hop` marks a replica, `only_if_cached` forbids requests to others."""

    reference: Reference
    is_hop: bool = False
    only_if_cached: bool = False

    def at(self, digest: Digest) -> Request:
        """Return the same request for the manifest with this digest."""
        return replace(self, reference=self.reference.at(digest))


def parse_digest(text: str) -> Digest | None:
    """Return the digest, or None if the text is none."""
    if not _DIGEST.fullmatch(text):
        return None
    algorithm, _, value = text.partition(":")
    return Digest(algorithm, value)


def split_host(path: str) -> tuple[str, str] | None:
    """Return the first component of a repository name, and the path without it; None for a name of one component."""
    match = _PATH_WITH_HOST.fullmatch(path)
    return (match["host"], f"/v2/{match['rest']}") if match else None


def parse_path(path: str) -> Reference:
    """Return the resource that a raw, still quoted path names. Raises RegistryError."""
    match = _PATH.fullmatch(path) if len(path) <= PATH_MAX else None
    if match is None:
        raise RegistryError(NOT_FOUND, "No such resource. The cache serves manifests, blobs, referrers and tags/list.")
    kind, name, reference = Kind(match["kind"]), match["name"], match["reference"]
    if len(name) > NAME_MAX or not _NAME.fullmatch(name):
        raise RegistryError(BAD_REQUEST, "The repository name is not valid.", "NAME_INVALID")
    digest = parse_digest(reference)
    if kind is Kind.TAGS:
        if reference != "list":
            raise RegistryError(NOT_FOUND, "No such resource. Ask for tags/list.")
    elif digest is None and (kind is not Kind.MANIFEST or not _TAG.fullmatch(reference)):
        raise RegistryError(BAD_REQUEST, "The tag or digest is not valid.", "DIGEST_INVALID")
    return Reference(kind, name, reference, digest)
