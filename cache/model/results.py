"""Name how a request was served, for metrics."""

from enum import StrEnum


class Result(StrEnum):
    """Origin of the content of a response."""

    HIT = "hit"  # from the store
    MISS = "miss"  # this request fetched it
    JOINED = "joined"  # another request was fetching it already
    PEER = "peer"  # from another replica
    UNSTORED = "unstored"  # this request fetched it, and the volume has no room for it
    STALE = "stale"  # from the store, because the upstream gave no usable answer
    REFUSED = "refused"  # not at all
