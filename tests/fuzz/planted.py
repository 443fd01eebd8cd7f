"""A target with a mistake in it, which the fuzzer has to find: otherwise the others' silence says nothing."""

from __future__ import annotations

from hostess.hostsfile import hosts_block


def one(data: bytes) -> None:
    """Claims that no bytes are a block of ours."""
    assert not hosts_block.parse(data).blocks
