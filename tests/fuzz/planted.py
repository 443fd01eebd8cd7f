"""Fuzz a planted mistake. It proves that the fuzzer finds one."""

from __future__ import annotations

from hostess.hostsfile import hosts_block


def one(data: bytes) -> None:
    """Assert wrongly that no bytes contain a block of an agent."""
    assert not hosts_block.parse(data).blocks
