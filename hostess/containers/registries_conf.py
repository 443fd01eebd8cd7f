"""Render a drop-in of registries.conf, and parse those of others. Pure.

See containers-registries.conf(5). A later file replaces the whole table of an earlier one with the same prefix.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hostess.containerd.hosts_toml import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable

# Hosts in names that podman parses. It refuses IPv6 addresses. A broken drop-in would break every pull of the node.
_LABEL: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?")
# Lists of registries in the first version of the format.
_OLD_SECTIONS: Final = ("insecure", "block")


@dataclass(frozen=True, slots=True)
class Registry:
    """Registry of image names with `host`, and its mirror as `host[/path]`. `insecure`: the upstream is http."""

    host: str
    mirror: str
    insecure: bool = False


def is_supported(host: str) -> bool:
    """Return True if podman and CRI-O take this host in image names."""
    return _HOST.fullmatch(host) is not None


def render(mirror: str, registries: Iterable[Registry]) -> str:
    """Return the drop-in of a mirror: for each registry the mirror first, then the upstream.

    Raises ValueError if it would not be read as it is meant.
    """
    tables = [_table(each) for each in registries]
    text = "\n".join([MARK.format(mirror=mirror), *(line for table in tables for line in _lines(table)), ""])
    if tomllib.loads(text).get("registry", []) != tables:
        raise ValueError(f"cannot be written as TOML: {tables}")
    return text


def _table(registry: Registry) -> dict[str, Any]:
    if not is_supported(registry.host) or not all(map(is_supported, registry.mirror.split("/"))):
        raise ValueError(f"no host in image names: {registry}")
    insecure = {"insecure": True} if registry.insecure else {}
    return {
        "prefix": registry.host,
        "location": registry.host,
        **insecure,
        "mirror": [{"location": registry.mirror}],
    }


def _lines(table: dict[str, Any]) -> list[str]:
    own = [f"{key} = {json.dumps(value)}" for key, value in table.items() if key != "mirror"]
    mirrors = [f"location = {json.dumps(each['location'])}" for each in table["mirror"]]
    return ["", "[[registry]]", *own, "", "[[registry.mirror]]", *mirrors]


def configures(content: bytes, host: str) -> bool:
    """Return True if a foreign file configures the registry `host` as a whole. So does one that cannot be parsed."""
    try:
        document = tomllib.loads(content.decode())
    except (ValueError, RecursionError):
        return True
    return any(_covers(prefix, host) for prefix in _prefixes(document))


def _prefixes(document: dict[str, Any]) -> list[Any]:
    tables = document.get("registry")
    found = [each.get("prefix") or each.get("location") for each in _dicts(tables)]
    old = document.get("registries")
    if isinstance(old, dict):
        lists = [each.get("registries") for each in _dicts([old.get(section) for section in _OLD_SECTIONS])]
        found += [host for hosts in lists if isinstance(hosts, list) for host in hosts]
    return found


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _covers(prefix: Any, host: str) -> bool:
    """Return True if a prefix means all images of the host. A longer prefix goes before ours."""
    if not isinstance(prefix, str):
        return False
    if prefix.startswith("*."):
        return host.endswith(prefix[1:])
    return prefix.rstrip("/") == host
