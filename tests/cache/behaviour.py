"""Describe how the upstream of the tests answers."""

from __future__ import annotations

from dataclasses import dataclass, field

PIECE = 64 * 1024
BEARER = 'Basic realm="other", Bearer realm="{realm}",service="test, with comma"'
BASIC = 'Basic realm="x"'


@dataclass
class Behaviour:
    """The ways in which the upstream answers. The defaults are those of a registry without login."""

    # By kind: "manifests", "blobs", "token"; "" for all.
    status: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # statuses of repositories
    retry_after: str | None = None
    remaining: int | None = None  # pulls of 100 that the rate limit still allows; None: the upstream does not say
    hang: bool = False  # accept and never answer
    head: dict[str, int] = field(default_factory=dict)  # statuses of HEAD, by kind
    digest_header: str | None = "right"  # "right", "wrong" or None
    chunked: bool = False
    has_ranges: bool = True
    html: bool = False  # each path is a web page
    healthy: bool = False  # each path is the JSON of a health check
    moved: bool = False  # each path is a redirect to a web page
    gzip_manifests: bool = False
    gzip_blobs: bool = False
    cut_at: int | None = None  # close the connection after so many bytes of a blob, once
    never_ends: bool = False  # close the connection in place of the end of a body
    stall_at: int | None = None  # send nothing more after so many bytes of a blob, once
    garbage_at: int | None = None  # send a malformed chunk after so many bytes of a chunked blob, once
    garbage_delay: float = 0.0  # seconds of silence before it
    wrong_length: int = 0  # bytes to add (random) or take away at the end of a blob
    redirect: str | None = None  # "other host", "relative", "loop", "downgrade", "expired", "once"
    redirect_status: int = 307
    auth: str | None = None  # "bearer", "basic"
    challenges: tuple[str, ...] = ()  # headers in place of the usual one
    foreign_realm: bool = False  # the token service has an address of its own
    realm_query: bool = False
    token_key: str = "token"
    token_lifetime: float = 60
    names_lifetime: bool = True
    accounts: tuple[bytes, ...] = (b"robot:secret",)
    rate: float | None = None  # bytes per second, for all clients together
    piece: int = PIECE  # bytes per write
    latency: float = 0.0

    def status_of(self, kind: str) -> int:
        """Return the status of a kind of request."""
        return self.status.get(kind, self.status.get("", 200))

    def status_of_head(self, kind: str) -> int:
        """Return the status of a HEAD of a kind."""
        return self.head.get(kind, self.head.get("", 200))
