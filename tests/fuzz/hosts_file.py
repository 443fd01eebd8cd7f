"""The hosts file: whatever stands in it, what is foreign stays byte for byte, and our block says what was meant.

The first line is a list of steps: `set <mirror> <host> <address>,<address>`, `drop <mirror>`, separated by semicolons.
What follows is the file.
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

# What an agent may have written, whole or cut short. All else is somebody's, by another look than the code's own.
END = b"# END registry-mirror "
OURS = re.compile(rb"# (BEGIN|END) registry-mirror [a-z0-9-]+( \(and a line break\))?|[0-9a-f.:]*(\t[a-z0-9.-]*)?")


def one(data: bytes) -> None:
    """One file, and some steps on it."""
    steps, _, content = data.partition(b"\n")
    assert hosts_block.parse(hosts_block.render(hosts_block.parse(content))) == hosts_block.parse(content)
    for step in text_of(steps).split(";"):
        words = step.split(" ")
        if words[0] == "set" and len(words) == len(("set", "mirror", "host", "addresses")):
            content = _set(content, *words[1:])
        elif words[0] == "drop" and len(words) == len(("drop", "mirror")):
            after = hosts_block.without_entry(content, words[1])
            _is_kept(content, after, words[1])
            assert words[1] not in hosts_block.parse(after).blocks
            content = after


def _set(content: bytes, mirror: str, host: str, listed: str) -> bytes:
    if not names.is_mirror_name(mirror):
        return content  # the agent's settings let no other through
    addresses = listed.split(",")
    try:
        after = hosts_block.with_entry(content, mirror, host, addresses)
    except ValueError:
        assert not (names.is_dns_name(host) and all(map(_is_address, addresses)))
        return content
    _is_kept(content, after, mirror)
    meant = tuple(str(ipaddress.ip_address(address)) for address in addresses)
    assert hosts_block.addresses(after, mirror, host) == meant
    assert hosts_block.with_entry(after, mirror, host, addresses) == after
    assert list(_read(after[len(hosts_block.parse(content).foreign) :], host))[-len(meant) :] or not meant
    return after


def _is_kept(before: bytes, after: bytes, mirror: str) -> None:
    was, now = hosts_block.parse(before), hosts_block.parse(after)
    assert now.foreign == was.foreign
    assert after.startswith(was.foreign)
    assert {**now.blocks, mirror: b""} == {**was.blocks, mirror: b""}
    assert list(_foreign(after)) == list(_foreign(before))


def _foreign(content: bytes) -> Iterator[bytes]:
    yield from (line for line in content.split(b"\n") if not (OURS.fullmatch(line) or END.startswith(line)))


def _read(content: bytes, host: str) -> Iterator[str]:
    """Addresses of a host as a resolver reads them."""
    for line in content.split(b"\n"):
        words = line.partition(b"#")[0].split()
        if host.encode() in words[1:]:
            yield words[0].decode()


def _is_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return getattr(ipaddress.ip_address(text), "scope_id", None) is None
    return False
