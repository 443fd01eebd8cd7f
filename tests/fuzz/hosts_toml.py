"""hosts.toml: any text stays in its place, and any file is somebody's or a mirror's.

The parts stand between zero bytes: masqueradeUrl, authority, url, a list of authorities, one of client pairs, both with
tabs between, and last a file that somebody else wrote.
"""

from __future__ import annotations

import tomllib

from common import names
from hostess.containerd import hosts_toml
from hostess.containerd.hosts_toml import Upstream
from tests.fuzz.lines import text_of

PARTS = 6


def one(data: bytes) -> None:
    """One file that we write, and one that is found."""
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
        "server": _spelled(url),
        "ca": [_spelled(root) for root in upstream.authorities],
        "client": [[_spelled(part) for part in pair] for pair in clients],
    }
    mirror = {"capabilities": ["pull", "resolve"], "ca": _spelled(authority), "dial_timeout": hosts_toml.DIAL_TIMEOUT}
    assert tomllib.loads(written) == {**server, "host": {f"https://{masquerade}": mirror}}
    hidden = tomllib.loads(hosts_toml.render_hidden("docker", masquerade, authority, upstream))
    trusted = [_spelled(authority), *server["ca"]]
    assert hidden == {**server, "server": f"https://{masquerade}", "ca": trusted}


def _spelled(text: str) -> str:
    """What has no UTF-8 becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
