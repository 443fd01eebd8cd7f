"""Choose the replica that fetches a key from the upstream, by rendezvous hashing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def ranked(members: Iterable[str], key: str) -> list[str]:
    """Return the members in the order in which they own the key.

    All replicas compute the same order. A member that leaves moves only its own keys.
    """
    return sorted(members, key=lambda member: (_weight(member, key), member), reverse=True)


def _weight(member: str, key: str) -> bytes:
    return hashlib.blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()
