"""Parse and render the node's hosts file: one marked block per mirror at its end, the rest byte for byte.

Foreign lines may have any encoding, so all is bytes. Blocks are appended, so that foreign lines stay in place.
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

# The first block notes the line break that it had to add to the last foreign line, and takes it away again.
_MARK: Final = b"# BEGIN registry-mirror "
_BEGIN: Final = re.compile(_MARK + rb"(?P<mirror>[a-z0-9-]+)(?P<unended> \(and a line break\))?\n?")
_END: Final = re.compile(rb"# END registry-mirror [a-z0-9-]+\n?")
_ENTRY: Final = re.compile(rb"[0-9a-f.:]+\t(?P<host>[a-z0-9.-]+)\n")
# An unfinished last line of a killed agent.
_CUT: Final = re.compile(rb"[0-9a-f.:]*(\t[a-z0-9.-]*)?")


@dataclass(slots=True)
class Hosts:
    """Parts of a hosts file: foreign content, and the lines of each mirror's block."""

    foreign: bytes = b""
    blocks: dict[str, bytes] = field(default_factory=dict)


def parse(content: bytes) -> Hosts:
    """Parse a file. A block without its last line, of a killed agent, extends to the end of the file.

    Its unfinished line is dropped. Foreign lines inside and after such a block stay foreign.
    """
    start = _first_block(content)
    # Joined once at the end: a hosts file may have a hundred thousand lines.
    foreign, blocks, block, broken = [content[:start]], dict[str, bytes](), None, False
    for line in _lines(content[start:]):
        begin = _BEGIN.fullmatch(line)
        if begin:
            block = begin["mirror"].decode()
            blocks[block] = b""
            broken = broken or begin["unended"] is not None
        elif block is not None and _END.fullmatch(line):
            block = None
        elif block is not None and _is_ours(line, blocks[block]):
            # An unfinished line would be joined with the next one.
            blocks[block] += line if line.endswith(b"\n") else b""
        else:
            foreign.append(line)
            broken = False
    joined = b"".join(foreign)
    return Hosts(joined.removesuffix(b"\n") if broken else joined, blocks)


def begin_of(mirror: str) -> re.Pattern[bytes]:
    """Return a pattern of the first line of the mirror's block, or of each block if `mirror` is empty."""
    return re.compile(_MARK + (mirror.encode() + rb"(?![a-z0-9-])" if mirror else b""))


def _first_block(content: bytes) -> int:
    """Return the offset of the first line that may be ours. All before it is foreign."""
    found = content.find(_MARK)
    return content.rfind(b"\n", 0, found) + 1 if found >= 0 else len(content)


def render(hosts: Hosts) -> bytes:
    """Render a file, the inverse of `parse`."""
    result = hosts.foreign
    for mirror, lines in hosts.blocks.items():
        unended = result != b"" and not result.endswith(b"\n")
        mark = " (and a line break)" if unended else ""
        begin = f"# BEGIN registry-mirror {mirror}{mark}\n".encode()
        result += (b"\n" if unended else b"") + begin + lines + f"# END registry-mirror {mirror}\n".encode()
    return result


def with_entry(content: bytes, mirror: str, host: str, addresses: Iterable[str]) -> bytes:
    """Return `content` with the mirror's block replaced: `host` at these IPv4 or IPv6 addresses.

    Foreign lines with nothing but one of these entries are removed: a killed mirror-hostess of the original project
    leaves one, which would outlive the mirror.

    Raises ValueError if an address or the name is invalid: nothing else may get into a hosts file.
    """
    if not names.is_dns_name(host):
        raise ValueError(f"no DNS name: {host!r}")
    hosts = parse(content)
    lines = "".join(f"{_address(address)}\t{host}\n" for address in addresses)
    hosts.blocks[mirror] = lines.encode("ascii")
    hosts.foreign = _without_duplicates(hosts.foreign, host, addresses)
    return render(hosts)


def contradiction(content: bytes, host: str, addresses: Iterable[str]) -> str:
    """Return the first foreign line that gives `host` another address; empty without one.

    The first line of a name counts, and blocks are at the end.
    """
    foreign, ours = parse(content).foreign, set(map(_address, addresses))
    for line in _lines(foreign) if host.encode() in foreign.lower() else ():
        if host.encode() in map(bytes.lower, _names(line)):
            with contextlib.suppress(ValueError):  # no address: resolvers skip the line
                if _address(line.split()[0].decode("ascii")) not in ours:
                    return line.decode("utf-8", "replace").strip()
    return ""


def without_entry(content: bytes, mirror: str) -> bytes:
    """Return `content` without the mirror's block."""
    hosts = parse(content)
    hosts.blocks.pop(mirror, None)
    return render(hosts)


def addresses(content: bytes, mirror: str, host: str) -> tuple[str, ...]:
    """Return the addresses of `host` in the mirror's block. Unfinished lines are ignored."""
    lines = parse(content).blocks.get(mirror, b"").splitlines(keepends=True)
    entries = [match for match in map(_ENTRY.fullmatch, lines) if match and match["host"] == host.encode()]
    found = []
    for entry in entries:
        with contextlib.suppress(ValueError):  # an unfinished line may hold half an address
            found.append(_address(entry[0].split(b"\t")[0].decode("ascii")))
    return tuple(found)


def has_name(content: bytes, host: str) -> bool:
    """Return True if a foreign line gives `host` an address."""
    return any(host.encode() in _names(line) for line in _lines(parse(content).foreign))


def without_name(content: bytes, host: str) -> bytes:
    """Return `content` without the foreign lines that have no other name than `host`."""
    hosts = parse(content)
    hosts.foreign = b"".join(line for line in _lines(hosts.foreign) if _names(line) != [host.encode()])
    return render(hosts)


def _without_duplicates(foreign: bytes, host: str, addresses: Iterable[str]) -> bytes:
    """Return foreign lines without those that consist of one of the addresses and the name."""
    name = host.encode()
    if name not in foreign:  # a file may have a hundred thousand lines
        return foreign
    ours = [[_address(address).encode(), name] for address in addresses]
    return b"".join(line for line in _lines(foreign) if line.split() not in ours)


def _names(line: bytes) -> list[bytes]:
    """Return the host names of a line; the first word is the address."""
    return line.partition(b"#")[0].split()[1:]


def _is_ours(line: bytes, block: bytes) -> bool:
    """Return True if the line belongs to a block with the lines `block`: all have one name."""
    entry, first = _ENTRY.fullmatch(line), _ENTRY.match(block)
    if entry is None:
        return _CUT.fullmatch(line) is not None or b"# END registry-mirror ".startswith(line)
    return first is None or entry["host"] == first["host"]


def _address(text: str) -> str:
    """Return the address in its usual form. A zone is invalid: it could hold any text."""
    address = ipaddress.ip_address(text)
    if getattr(address, "scope_id", None) is not None:
        raise ValueError(f"an IP address with a zone: {text!r}")
    return str(address)


def _lines(content: bytes) -> Iterator[bytes]:
    """Yield lines with their ends. `bytes.splitlines` would also split at a lone carriage return."""
    *complete, rest = content.split(b"\n")
    yield from (line + b"\n" for line in complete)
    if rest:
        yield rest
