"""hosts.toml, by which containerd asks the mirror first and the upstream when that fails.

Its first line says whose it is: one without it is a person's own, and is respected.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from common import names

# Seconds until containerd turns to the upstream when no packet comes back: 4 s for an image of one layer, where
# without it are 120. A Service that has no pod refuses at once, so that a slow but living mirror is not given up.
DIAL_TIMEOUT: Final = "1s"
_MARK: Final = "# Written by the node agent of registry-mirror {mirror}; it goes when the mirror does not answer."


@dataclass(frozen=True, slots=True)
class Upstream:
    """What containerd falls back to: a URL, and what a person had set for it, which containerd reads from here now.

    `authorities` are paths on the node, `clients` pairs of certificate and key.
    """

    url: str
    authorities: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()


def render(mirror: str, masquerade: str, authority: str, upstream: Upstream) -> str:
    """The file: the mirror at `https://<masquerade>`, trusted by the file `authority` on the node, then the upstream.

    Raises ValueError where `masquerade` is no DNS name.
    """
    return "\n".join(
        [
            _MARK.format(mirror=mirror),
            *_server(upstream),
            "",
            f"[host.{_quoted(_url(masquerade))}]",
            '  capabilities = ["pull", "resolve"]',
            f"  ca = {_quoted(authority)}",
            f"  dial_timeout = {_quoted(DIAL_TIMEOUT)}",
            "",
        ]
    )


def render_hidden(mirror: str, masquerade: str, authority: str, upstream: Upstream) -> str:
    """The file where the mirror has the upstream's own name: only what is trusted under it, the mirror's CA too.

    Raises ValueError where `masquerade` is no DNS name.
    """
    server = Upstream(_url(masquerade), (authority, *upstream.authorities), upstream.clients)
    return "\n".join([_MARK.format(mirror=mirror), *_server(server), ""])


def _url(masquerade: str) -> str:
    if not names.is_dns_name(masquerade):
        raise ValueError(f"no DNS name: {masquerade!r}")
    return f"https://{masquerade}"


def _server(upstream: Upstream) -> list[str]:
    lines = [f"server = {_quoted(upstream.url)}"]
    if upstream.authorities:
        lines.append(f"ca = [{', '.join(map(_quoted, upstream.authorities))}]")
    if upstream.clients:
        pairs = (f"[{_quoted(certificate)}, {_quoted(key)}]" for certificate, key in upstream.clients)
        lines.append(f"client = [{', '.join(pairs)}]")
    return lines


def owner(content: bytes) -> str | None:
    """The mirror whose agent wrote this file; None where somebody else did."""
    before, _, after = _MARK.partition("{mirror}")
    first = content.partition(b"\n")[0].decode("utf-8", "replace")
    if not (first.startswith(before) and first.endswith(after)):
        return None
    mirror = first.removeprefix(before).removesuffix(after)
    return mirror if names.is_mirror_name(mirror) else None


def _quoted(text: str) -> str:
    """A basic string of TOML: as in JSON, but that DEL must be escaped and a half of a surrogate pair cannot be."""
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
