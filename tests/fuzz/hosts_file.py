"""Fuzz the hosts file: foreign lines stay byte for byte, and our block has the requested entries.

The first line of the input is a list of steps, separated by semicolons: `set <mirror> <host> <address>,<address>` or
`drop <mirror>`. The file follows.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING

from common import names
from hostess.hostsfile import hosts_block
from tests.fuzz.lines import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lines of an agent, complete or cut short; others are foreign. The product code does not use these patterns.
END = b"# END registry-mirror "
OURS = re.compile(rb"# (BEGIN|END) registry-mirror [a-z0-9-]+( \(and a line break\))?|[0-9a-f.:]*(\t[a-z0-9.-]*)?")


def one(data: bytes) -> None:
    """Check one file after each step."""
    steps, _, content = data.partition(b"\n")
    assert hosts_block.parse(hosts_block.render(hosts_block.parse(content))) == hosts_block.parse(content)
    for step in text_of(steps).split(";"):
        words = step.split(" ")
        if words[0] == "set" and len(words) == len(("set", "mirror", "host", "addresses")):
            content = _set(content, *words[1:])
        elif words[0] == "drop" and len(words) == len(("drop", "mirror")):
            after = hosts_block.without_entry(content, words[1])
            _is_kept(content, after, words[1], hosts_block.parse(content).foreign)
            assert words[1] not in hosts_block.parse(after).blocks
            content = after


def _set(content: bytes, mirror: str, host: str, listed: str) -> bytes:
    if not names.is_mirror_name(mirror):
        return content  # the agent's settings refuse it
    addresses = listed.split(",")
    try:
        after = hosts_block.with_entry(content, mirror, host, addresses)
    except ValueError:
        assert not (names.is_dns_name(host) and all(map(_is_address, addresses)))
        return content
    expected = tuple(str(ipaddress.ip_address(address)) for address in addresses)
    old = hosts_block.parse(content).foreign
    _is_kept(content, after, mirror, b"".join(line for line in _lines(old) if not _repeats(line, host, expected)))
    assert hosts_block.addresses(after, mirror, host) == expected
    assert hosts_block.with_entry(after, mirror, host, addresses) == after
    assert list(_read(after[len(hosts_block.parse(after).foreign) :], host))[-len(expected) :] or not expected
    return after


def _is_kept(before: bytes, after: bytes, mirror: str, foreign: bytes) -> None:
    old, new = hosts_block.parse(before), hosts_block.parse(after)
    assert new.foreign == foreign
    assert after.startswith(foreign)
    assert {**new.blocks, mirror: b""} == {**old.blocks, mirror: b""}
    if foreign == old.foreign:
        assert list(_foreign(after)) == list(_foreign(before))


def _lines(content: bytes) -> Iterator[bytes]:
    """Yield lines with their ends."""
    yield from re.findall(rb"[^\n]*\n|[^\n]+", content)


def _repeats(line: bytes, host: str, addresses: tuple[str, ...]) -> bool:
    """Return True if a foreign line has one of our entries and nothing else."""
    words = re.split(rb"[ \t]+", line.removesuffix(b"\n").strip(b" \t"))
    return [host.encode()] == words[1:] and words[0].decode("latin-1") in addresses


def _foreign(content: bytes) -> Iterator[bytes]:
    yield from (line for line in content.split(b"\n") if not (OURS.fullmatch(line) or END.startswith(line)))


def _read(content: bytes, host: str) -> Iterator[str]:
    """Yield the addresses of a host as a resolver reads them."""
    for line in content.split(b"\n"):
        words = line.partition(b"#")[0].split()
        if host.encode() in words[1:]:
            yield words[0].decode()


def _is_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return getattr(ipaddress.ip_address(text), "scope_id", None) is None
    return False
