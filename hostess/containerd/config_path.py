"""Whether the node's container runtime reads the folder that we write to: from its configuration and its version."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINERD: Final = "containerd"
DEFAULT_FOLDER: Final = "/etc/containerd/certs.d"
TWO_ROOTS: Final = "/etc/containerd/certs.d:/etc/docker/certs.d"
# From 2.2 on the default is two roots; from 2.1 on the default puller takes such a list for the name of one folder.
_TWO_ROOTS_SINCE: Final = (2, 2)
_LITERAL_SINCE: Final = (2, 1)
# Where each generation of the configuration has it, the newest first.
_SECTIONS: Final = ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri")
REASON: Final = "RuntimeIgnoresCerts"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Name and version as the kubelet tells them; both empty where that is not known."""

    name: str = ""
    version: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the runtime reads: `literal` is a list of roots that it takes for the name of one folder."""

    literal: str | None = None


def parse_version(text: str) -> Runtime:
    """From `containerd://2.4.2`, a Node's status.nodeInfo.containerRuntimeVersion."""
    name, _, version = text.partition("://")
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return Runtime(name, (int(numbers[1]), int(numbers[2])) if numbers else None)


def reading(configurations: Iterable[bytes], runtime: Runtime, folder: str) -> Reading:
    """How the runtime reads `folder`, by its configuration files in their order (the main one, then its imports).

    Raises Hindrance where it does not read it.
    """
    if runtime.name not in ("", CONTAINERD):
        raise NodeConfigError(
            REASON,
            f"the runtime is {runtime.name}, which reads no hosts.toml: images come through the mirror only where they"
            " are named after spec.masqueradeUrl.",
        )
    texts = list(configurations)
    if not texts and folder != DEFAULT_FOLDER:
        return Reading()  # its configuration is not beside the folder, which a person has named: they know
    found = [path for text in texts for path in _config_paths(text)]
    # An empty one is as good as none: containerd 2.2 and newer take their default then, too.
    path = found[-1] if found and (found[-1] or runtime.version is None) else _default(runtime)
    if path is None:
        return Reading()
    if path == TWO_ROOTS and not any(found) and any(map(_has_mirrors, texts)):
        raise NodeConfigError(
            REASON,
            f"containerd has registry.mirrors in its configuration ({_section(runtime)}) and so reads no hosts.toml:"
            " move what they say to hosts.toml files, take them out, and restart it.",
        )
    if path == "":
        raise NodeConfigError(
            REASON,
            'containerd has an empty config_path and so reads no hosts.toml: set config_path = "'
            f'{folder}" under its registry section ({_section(runtime)}) and restart it.',
        )
    if path.rstrip("/") != folder and folder not in [root.rstrip("/") for root in path.split(":")]:
        raise NodeConfigError(
            REASON,
            f"containerd reads {path}, not {folder}: set the controller's CONTAINERD_CERTS_DIR to it, or containerd's"
            " config_path to ours.",
        )
    takes_literally = runtime.version is None or runtime.version >= _LITERAL_SINCE
    return Reading(path if ":" in path and takes_literally else None)


def _default(runtime: Runtime) -> str | None:
    """What an unset config_path means; None where that cannot be known."""
    if runtime.version is None:
        return None
    return TWO_ROOTS if runtime.version >= _TWO_ROOTS_SINCE else ""


def _section(runtime: Runtime) -> str:
    old = runtime.version is not None and runtime.version < (2, 0)
    return f'[plugins."{_SECTIONS[1] if old else _SECTIONS[0]}".registry]'


def _config_paths(text: bytes) -> list[str]:
    """The config_path of a file, one or none: a file that is no TOML stops containerd itself, and says nothing here."""
    plugins = _parsed(text).get("plugins")
    for section in _SECTIONS:
        registry = _table(_table(plugins, section), "registry")
        value = registry.get("config_path")
        if isinstance(value, str):
            return [value]
    return []


def _has_mirrors(text: bytes) -> bool:
    """Whether a file has mirrors in the old way, for which containerd leaves its default config_path away."""
    plugins = _parsed(text).get("plugins")
    return any(_table(_table(plugins, section), "registry").get("mirrors") for section in _SECTIONS)


def imports(text: bytes) -> list[str]:
    """Patterns of further configuration files."""
    found = _parsed(text).get("imports")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _table(within: Any, key: str) -> dict[str, Any]:
    found = within.get(key) if isinstance(within, dict) else None
    return found if isinstance(found, dict) else {}


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError):  # of no TOML, of a number of thousands of digits; of brackets within brackets
        return {}
