"""Fuzz hosts.toml: any text stays within its value, and any file is foreign or belongs to a mirror.

Zero bytes separate the parts of the input: masqueradeUrl, CA, URL, a list of CAs, a list of client pairs, a foreign
file. Tabs separate the items of a list.
"""

from __future__ import annotations

import tomllib

from common import names
from hostess.containerd import hosts_toml
from hostess.containerd.hosts_toml import Upstream
from tests.fuzz.lines import text_of

PARTS = 6


def one(data: bytes) -> None:
    """Check one rendered file and one foreign file."""
    *parts, found = [*data.split(b"\0", PARTS - 1), *[b""] * PARTS][:PARTS]
    owner = hosts_toml.owner(found)
    assert owner is None or names.is_mirror_name(owner)
    masquerade, authority, url, roots, pairs = (text_of(part) for part in parts)
    clients = tuple(tuple(pair.partition("\n")[::2]) for pair in pairs.split("\t"))
    upstream = Upstream(url, tuple(roots.split("\t")), clients)  # type: ignore[arg-type]
    try:
        written = hosts_toml.render("docker", masquerade, authority, upstream)
    except ValueError:
        assert not names.is_dns_name(masquerade)
        return
    assert hosts_toml.owner(written.encode()) == "docker"
    server = {
        "server": _as_utf8(url),
        "ca": [_as_utf8(root) for root in upstream.ca_files],
        "client": [[_as_utf8(part) for part in pair] for pair in clients],
    }
    mirror = {"capabilities": ["pull", "resolve"], "ca": _as_utf8(authority), "dial_timeout": hosts_toml.DIAL_TIMEOUT}
    assert tomllib.loads(written) == {**server, "host": {f"https://{masquerade}": mirror}}
    hidden = tomllib.loads(hosts_toml.render_hidden("docker", masquerade, authority, upstream))
    trusted = [_as_utf8(authority), *server["ca"]]
    assert hidden == {**server, "server": f"https://{masquerade}", "ca": trusted, "host": {}}


def _as_utf8(text: str) -> str:
    """Replace characters without UTF-8 by question marks."""
    return text.encode("utf-8", "replace").decode()
