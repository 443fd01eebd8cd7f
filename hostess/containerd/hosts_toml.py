"""Render hosts.toml: containerd asks the mirror first, then the upstream.

Its first line names the mirror. A file without that line is foreign and is never changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from common import names

# Without an answer containerd turns to the upstream after this time: 4 s for an image of one layer instead of 120. A
# Service without pods refuses at once.
DIAL_TIMEOUT: Final = "1s"
MARK: Final = "# Written by the node agent of registry-mirror {mirror}; it is removed while the mirror does not answer."


@dataclass(frozen=True, slots=True)
class Upstream:
    """Fallback of containerd, with the administrator's settings for it.

    `ca_files` are paths on the node, `clients` pairs of certificate and key.
    """

    url: str
    ca_files: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()


def render(mirror: str, masquerade: str, ca_path: str, upstream: Upstream) -> str:
    """Return the file: first the mirror at `https://<masquerade>` with the CA at `ca_path`, then the upstream.

    Raises ValueError if `masquerade` is no DNS name.
    """
    return "\n".join(
        [
            MARK.format(mirror=mirror),
            *_server(upstream),
            "",
            f"[host.{_quoted(_url(masquerade))}]",
            '  capabilities = ["pull", "resolve"]',
            f"  ca = {_quoted(ca_path)}",
            f"  dial_timeout = {_quoted(DIAL_TIMEOUT)}",
            "",
        ]
    )


def render_hidden(mirror: str, masquerade: str, ca_path: str, upstream: Upstream) -> str:
    """Return the file if the mirror has the upstream's own name: it only adds the mirror's CA.

    containerd 1.6 reads no file without a table `host`. Raises ValueError if `masquerade` is no DNS name.
    """
    server = Upstream(_url(masquerade), (ca_path, *upstream.ca_files), upstream.clients)
    return "\n".join([MARK.format(mirror=mirror), *_server(server), "", "[host]", ""])


def _url(masquerade: str) -> str:
    if not names.is_dns_name(masquerade):
        raise ValueError(f"no DNS name: {masquerade!r}")
    return f"https://{masquerade}"


def _server(upstream: Upstream) -> list[str]:
    lines = [f"server = {_quoted(upstream.url)}"]
    if upstream.ca_files:
        lines.append(f"ca = [{', '.join(map(_quoted, upstream.ca_files))}]")
    if upstream.clients:
        pairs = (f"[{_quoted(certificate)}, {_quoted(key)}]" for certificate, key in upstream.clients)
        lines.append(f"client = [{', '.join(pairs)}]")
    return lines


def owner(content: bytes) -> str | None:
    """Return the mirror whose agent wrote this file; None for a foreign file."""
    before, _, after = MARK.partition("{mirror}")
    first = content.partition(b"\n")[0].decode("utf-8", "replace")
    if not (first.startswith(before) and first.endswith(after)):
        return None
    mirror = first.removeprefix(before).removesuffix(after)
    return mirror if names.is_mirror_name(mirror) else None


def _quoted(text: str) -> str:
    """Return a basic TOML string. It differs from JSON in DEL, which is escaped, and in lone surrogates, replaced."""
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
