"""Decide from containerd's configuration and version if it reads the agent's folder.

The answer is never a guess: a part without certainty becomes a doubt.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.agent_protocol import RUNTIME_IGNORES_CERTS, RUNTIME_USES_MIRRORS
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINERD: Final = "containerd"
DEFAULT_FOLDER: Final = "/etc/containerd/certs.d"
TWO_ROOTS: Final = "/etc/containerd/certs.d:/etc/docker/certs.d"
# From 2.2 on the default is two roots; from 2.1 on the default puller takes such a list for the name of one folder.
_TWO_ROOTS_SINCE: Final = (2, 2)
_LITERAL_SINCE: Final = (2, 1)
# Before, containerd looks for relative patterns in its working directory.
RELATIVE_SINCE: Final = (1, 7)
# Before, an imported file replaces the whole section of a plugin, and registry.configs may hold TLS settings.
_SECOND_MAJOR: Final = (2, 0)
# Names of the CRI plugin's section, the newest first.
_SECTIONS: Final = ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Name and version as the kubelet reports them; both are empty if unknown."""

    name: str = ""
    version: tuple[int, int] | None = None

    def is_before(self, version: tuple[int, int]) -> bool:
        """Return True if the version is known and older."""
        return self.version is not None and self.version < version


@dataclass(frozen=True, slots=True)
class Reading:
    """Describe how containerd reads the folder. `literal` is a list of roots that it takes for one folder's name.

    `doubt` is a sentence about missing knowledge; it is empty if the answer is certain.
    """

    literal: str | None = None
    doubt: str = ""


def parse_version(text: str) -> Runtime:
    """Parse a Node's status.nodeInfo.containerRuntimeVersion, such as `containerd://2.4.2`."""
    name, _, version = text.partition("://")
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return Runtime(name, (int(numbers[1]), int(numbers[2])) if numbers else None)


def reading(texts: tuple[bytes, ...], doubts: tuple[str, ...], runtime: Runtime, folder: str) -> Reading:
    """Return how the runtime reads `folder`.

    `texts` are its main file, then the imported ones; `doubts` are about unreadable files. Raises NodeConfigError if
    the runtime certainly ignores the folder.
    """
    if runtime.name not in ("", CONTAINERD):
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f"the runtime {runtime.name} does not read hosts.toml. Name images after spec.masqueradeUrl to use the"
            " mirror.",
        )
    doubt = _doubt(texts, doubts, runtime, folder)
    try:
        return Reading(_literal(texts, runtime, folder), doubt)
    except NodeConfigError:
        if not doubt:
            raise
        return Reading(doubt=doubt)


def _doubt(texts: tuple[bytes, ...], doubts: tuple[str, ...], runtime: Runtime, folder: str) -> str:
    """Return why the agent cannot tell what the runtime reads; empty if it can."""
    if runtime.version is None:
        return "the agent does not know the node's runtime, because it cannot read the version from its Node object."
    if doubts:
        return doubts[0]
    if not texts and folder == DEFAULT_FOLDER:
        return (
            "there is no /etc/containerd/config.toml. If containerd has another one, set the controller's"
            " CONTAINERD_CERTS_DIR to the folder certs.d beside it; else write one with a config_path."
        )
    return ""


def _literal(texts: tuple[bytes, ...], runtime: Runtime, folder: str) -> str | None:
    """Return the list of roots that the runtime takes for one folder's name; None if it has none.

    Raises NodeConfigError if the runtime ignores the folder by these files.
    """
    if not texts and folder != DEFAULT_FOLDER:
        return None  # the configuration is elsewhere; the administrator has named the folder
    registries = _registries(texts, runtime)
    found = [path for registry in registries if isinstance(path := registry.get("config_path"), str)]
    _check_old_settings(_old_settings(registries, runtime), runtime, folder, is_path_set=any(found))
    # containerd 2.2 and newer take their default for an empty path too.
    path = found[-1] if found and (found[-1] or runtime.version is None) else _default(runtime)
    if path is None:
        return None
    _check_path(path, runtime, folder)
    return path if ":" in path and not runtime.is_before(_LITERAL_SINCE) else None


def _check_old_settings(settings: str, runtime: Runtime, folder: str, *, is_path_set: bool) -> None:
    """Raise NodeConfigError if there are `settings` beside which containerd's CRI plugin loads no config_path."""
    if not settings:
        return
    if is_path_set:
        raise NodeConfigError(
            RUNTIME_USES_MIRRORS,
            f"containerd's CRI plugin does not load with config_path and {settings}. First move {settings} to"
            f" hosts.toml files, one per registry. Then delete {settings} and restart containerd.",
        )
    raise NodeConfigError(
        RUNTIME_USES_MIRRORS,
        f"First move containerd's {settings} to hosts.toml files, one per registry, and delete {settings}. Then set"
        f' config_path = "{folder}" under {_section(runtime)} and restart containerd.',
    )


def _check_path(path: str, runtime: Runtime, folder: str) -> None:
    """Raise NodeConfigError if a config_path does not lead to `folder`."""
    if path == "":
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f'containerd has no config_path and so reads no hosts.toml. Set config_path = "{folder}" under'
            f" {_section(runtime)} and restart containerd.",
        )
    if path.rstrip("/") != folder and folder not in [root.rstrip("/") for root in path.split(":")]:
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f"containerd reads {path}, not {folder}. Set the controller's CONTAINERD_CERTS_DIR to {path}, or"
            f" containerd's config_path to {folder}.",
        )


def _default(runtime: Runtime) -> str | None:
    """Return the default of config_path; None if the version is unknown."""
    if runtime.version is None:
        return None
    return "" if runtime.is_before(_TWO_ROOTS_SINCE) else TWO_ROOTS


def _section(runtime: Runtime) -> str:
    return f'[plugins."{_SECTIONS[1] if runtime.is_before(_SECOND_MAJOR) else _SECTIONS[0]}".registry]'


def _registries(texts: Iterable[bytes], runtime: Runtime) -> list[dict[str, Any]]:
    """Return the registry tables that count, in the order of their files."""
    found = [table for table in map(_registry, texts) if table is not None]
    return found[-1:] if runtime.is_before(_SECOND_MAJOR) else found


def _registry(text: bytes) -> dict[str, Any] | None:
    """Return the CRI plugin's registry table of a file; None if the file does not configure the plugin."""
    plugins = _table(_parsed(text), "plugins")
    found = [_table(plugins[section], "registry") for section in reversed(_SECTIONS) if section in plugins]
    return {key: value for table in found for key, value in table.items()} if found else None


def _old_settings(registries: Iterable[dict[str, Any]], runtime: Runtime) -> str:
    """Name the settings that exclude config_path; of registry.configs only TLS does, in containerd 1."""
    found = {"registry.mirrors" for registry in registries if registry.get("mirrors")}
    for registry in registries:
        configs = _table(registry, "configs")
        if runtime.is_before(_SECOND_MAJOR) and any("tls" in _table(configs, host) for host in configs):
            found.add("registry.configs")
    return " and ".join(sorted(found, reverse=True))


def imports(text: bytes) -> list[str]:
    """Return the patterns of further configuration files."""
    found = _parsed(text).get("imports")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def is_toml(text: bytes) -> bool:
    """Return True for a valid file. containerd does not start with another one."""
    return _parsed_or_none(text) is not None


def _table(within: Any, key: str) -> dict[str, Any]:
    found = within.get(key) if isinstance(within, dict) else None
    return found if isinstance(found, dict) else {}


def _parsed(text: bytes) -> dict[str, Any]:
    return _parsed_or_none(text) or {}


def _parsed_or_none(text: bytes) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError):  # also numbers of thousands of digits, and brackets within brackets
        return None
