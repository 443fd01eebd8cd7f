"""The node's hosts file: one marked block a mirror at its end, everything else kept byte for byte.

Bytes in, bytes out: what others wrote need not be text in any encoding. Blocks are appended, so that writing one
leaves what is foreign where it is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The first block says so where it had to end the last foreign line: that break is taken out with it.
_MARK: Final = b"# BEGIN registry-mirror "
_BEGIN: Final = re.compile(_MARK + rb"(?P<mirror>[a-z0-9-]+)(?P<unended> \(and a line break\))?\n?")
_END: Final = re.compile(rb"# END registry-mirror [a-z0-9-]+\n?")
_ENTRY: Final = re.compile(rb"[0-9a-f.:]+\t(?P<host>[a-z0-9.-]+)\n")
# What is left of a line of ours whose writer was killed: the last one, without its end.
_CUT: Final = re.compile(rb"[0-9a-f.:]*(\t[a-z0-9.-]*)?")


@dataclass(slots=True)
class Hosts:
    """A hosts file taken apart: what is foreign, and the lines of each mirror's block."""

    foreign: bytes = b""
    blocks: dict[str, bytes] = field(default_factory=dict)


def parse(content: bytes) -> Hosts:
    """Takes a file apart. A block without its last line goes to the end of the file: its writer was killed.

    The line that it was at is left out. Lines that others wrote into a block, or after one that was cut off, are
    foreign too.
    """
    place = _first_block(content)
    # Joined once: a list of a hundred thousand blocked names would be copied as often.
    foreign, blocks, block, broken = [content[:place]], dict[str, bytes](), None, False
    for line in _lines(content[place:]):
        begin = _BEGIN.fullmatch(line)
        if begin:
            block = begin["mirror"].decode()
            blocks[block] = b""
            broken = broken or begin["unended"] is not None
        elif block is not None and _END.fullmatch(line):
            block = None
        elif block is not None and _is_ours(line, blocks[block]):
            # The start of a line would be joined with what is written after it, and then be nobody's.
            blocks[block] += line if line.endswith(b"\n") else b""
        else:
            foreign.append(line)
            broken = False
    theirs = b"".join(foreign)
    return Hosts(theirs.removesuffix(b"\n") if broken else theirs, blocks)


def _first_block(content: bytes) -> int:
    """Where the first line begins that may be ours: what stands before it is foreign, however much it is."""
    found = content.find(_MARK)
    return content.rfind(b"\n", 0, found) + 1 if found >= 0 else len(content)


def render(hosts: Hosts) -> bytes:
    """Puts a file together: `parse` of it gives `hosts` again."""
    result = hosts.foreign
    for mirror, lines in hosts.blocks.items():
        unended = result != b"" and not result.endswith(b"\n")
        mark = " (and a line break)" if unended else ""
        begin = f"# BEGIN registry-mirror {mirror}{mark}\n".encode()
        result += (b"\n" if unended else b"") + begin + lines + f"# END registry-mirror {mirror}\n".encode()
    return result


def with_entry(content: bytes, mirror: str, host: str, addresses: Iterable[str]) -> bytes:
    """`content` with a block that gives `host` these addresses (IPv4 or IPv6), instead of what the mirror had.

    Raises ValueError where an address or the name is none: nothing else may get into a hosts file.
    """
    if not names.is_dns_name(host):
        raise ValueError(f"no DNS name: {host!r}")
    hosts = parse(content)
    lines = "".join(f"{_address(address)}\t{host}\n" for address in addresses)
    hosts.blocks[mirror] = lines.encode("ascii")
    return render(hosts)


def without_entry(content: bytes, mirror: str) -> bytes:
    """`content` without the mirror's block: what it was before the block came, unless others changed it since."""
    hosts = parse(content)
    hosts.blocks.pop(mirror, None)
    return render(hosts)


def addresses(content: bytes, mirror: str, host: str) -> tuple[str, ...]:
    """What the mirror's block gives `host`, as far as its lines are whole: a writer may have been killed."""
    lines = parse(content).blocks.get(mirror, b"").splitlines(keepends=True)
    entries = [match for match in map(_ENTRY.fullmatch, lines) if match and match["host"] == host.encode()]
    found = []
    for entry in entries:
        with contextlib.suppress(ValueError):  # a line that was cut short may end in what is no address
            found.append(_address(entry[0].split(b"\t")[0].decode("ascii")))
    return tuple(found)


def _is_ours(line: bytes, block: bytes) -> bool:
    """Whether we wrote this line into a block that so far holds the lines `block`: all of them have one name."""
    entry, first = _ENTRY.fullmatch(line), _ENTRY.match(block)
    if entry is None:
        return _CUT.fullmatch(line) is not None or b"# END registry-mirror ".startswith(line)
    return first is None or entry["host"] == first["host"]


def _address(text: str) -> str:
    """The address in its usual form. A zone, which may hold anything, has no place in a Service's address."""
    address = ipaddress.ip_address(text)
    if getattr(address, "scope_id", None) is not None:
        raise ValueError(f"an IP address with a zone: {text!r}")
    return str(address)


def _lines(content: bytes) -> Iterator[bytes]:
    """Lines with their ends. `bytes.splitlines` would split at a lone carriage return too."""
    *ended, rest = content.split(b"\n")
    yield from (line + b"\n" for line in ended)
    if rest:
        yield rest
