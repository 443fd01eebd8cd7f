"""Decide from containerd's configuration and version if it reads the agent's folder.

The answer is never a guess: a part without certainty becomes a doubt.
"""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from common.agent_protocol import RUNTIME_IGNORES_CERTS, RUNTIME_USES_MIRRORS, certs_dir_mistake
from hostess.containerd.registry_tables import SECOND_MAJOR, registry_tables, section_to_set, table_at, unusable
from hostess.containerd.runtime import CONTAINERD, CRI_O
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostess.containerd.runtime import Runtime

DEFAULT_FOLDER: Final = "/etc/containerd/certs.d"
TWO_ROOTS: Final = "/etc/containerd/certs.d:/etc/docker/certs.d"
# From 2.2 on the default is two roots; from 2.1 on the default puller takes such a list for the name of one folder.
_TWO_ROOTS_SINCE: Final = (2, 2)
_LITERAL_SINCE: Final = (2, 1)
# Before, containerd looks for relative patterns in its working directory.
RELATIVE_SINCE: Final = (1, 7)
CRI_O_RELOADS: Final = (
    "CRI-O reads /etc/containers/registries.conf.d when it starts and at SIGHUP only. Set auto_reload_registries = true"
    " under [crio.image] in /etc/crio/crio.conf.d/ and restart CRI-O. The agent cannot read that setting."
)
_K3S_FOLDER: Final = "/var/lib/rancher/{}/agent/etc/containerd/certs.d"
K3S_READS_ANOTHER: Final = (
    "k3s and RKE2 do not read /etc/containerd/config.toml. Set the controller's CONTAINERD_CERTS_DIR, for all nodes, to"
    f" {_K3S_FOLDER.format('k3s')} (k3s) or {_K3S_FOLDER.format('rke2')} (RKE2)."
)


@dataclass(frozen=True, slots=True)
class Reading:
    """Describe how containerd reads the folder. `literal` is a list of roots that it takes for one folder's name.

    `doubt` is a sentence about missing knowledge; it is empty if the answer is certain. Without `searches_docker`,
    containerd certainly reads no other folder, such as docker's.
    """

    literal: str | None = None
    doubt: str = ""
    searches_docker: bool = True


def reading(texts: tuple[bytes, ...], doubts: tuple[str, ...], runtime: Runtime, folder: str) -> Reading:
    """Return how the runtime reads `folder`.

    `texts` are its main file, then the imported ones; `doubts` are about unreadable files. Raises NodeConfigError if
    the runtime certainly ignores the folder.
    """
    if runtime.name == CRI_O:
        return Reading(doubt=CRI_O_RELOADS)
    if runtime.name not in ("", CONTAINERD):
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f"the runtime {runtime.name} does not read hosts.toml. Name images after spec.masqueradeUrl to use the"
            " mirror.",
        )
    if runtime.is_of_k3s and folder == DEFAULT_FOLDER:
        return Reading(doubt=K3S_READS_ANOTHER)  # the files are left from an earlier containerd
    doubt = _doubt(texts, doubts, runtime, folder)
    try:
        path = _path(texts, runtime, folder)
    except NodeConfigError:
        if not doubt:
            raise
        return Reading(doubt=doubt)
    literal = _cleaned(path) if path is not None and _is_literal(path, runtime) else None
    return Reading(literal, doubt, searches_docker=path is None or ":" in path or bool(doubt))


def _is_literal(path: str, runtime: Runtime) -> bool:
    return ":" in path and not runtime.is_before(_LITERAL_SINCE)


def _doubt(texts: tuple[bytes, ...], doubts: tuple[str, ...], runtime: Runtime, folder: str) -> str:
    """Return why the agent cannot tell what the runtime reads; empty if it can."""
    if runtime.version is None:
        return "the agent does not know the node's runtime, because it cannot read the version from its Node object."
    if doubts:
        return doubts[0]
    if why := unusable(texts, runtime):
        return (
            f"containerd cannot serve the kubelet with config.toml and its imports. {why} If it runs with another file,"
            " set the controller's CONTAINERD_CERTS_DIR to the folder certs.d beside it. Else correct the file."
        )
    if not texts and folder == DEFAULT_FOLDER:
        return (
            "there is no /etc/containerd/config.toml. If containerd has another one, set the controller's"
            " CONTAINERD_CERTS_DIR to the folder certs.d beside it; else write one with a config_path."
        )
    return ""


def _path(texts: tuple[bytes, ...], runtime: Runtime, folder: str) -> str | None:
    """Return the config_path in use; None if it is unknown.

    Raises NodeConfigError if the runtime ignores the folder by these files.
    """
    if not texts and folder != DEFAULT_FOLDER:
        return None  # the configuration is elsewhere; the administrator has named the folder
    registries = registry_tables(texts, runtime)
    found = [path for registry in registries if isinstance(path := registry.get("config_path"), str)]
    section = f'[plugins."{section_to_set(texts, runtime)}".registry]'
    _check_old_settings(_old_settings(registries, runtime), section, folder, is_path_set=any(found))
    # An empty path means the default, also in a later file.
    path = (found[-1] if found else "") or _default(runtime)
    if path is not None:
        _check_path(path, section, folder, is_literal=_is_literal(path, runtime))
    return path


def _check_old_settings(settings: str, section: str, folder: str, *, is_path_set: bool) -> None:
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
        f' config_path = "{folder}" under {section} and restart containerd.',
    )


def _check_path(path: str, section: str, folder: str, *, is_literal: bool) -> None:
    """Raise NodeConfigError if a config_path does not lead to `folder`."""
    if path == "":
        raise NodeConfigError(
            RUNTIME_IGNORES_CERTS,
            f'containerd has no config_path and so reads no hosts.toml. Set config_path = "{folder}" under'
            f" {section} and restart containerd.",
        )
    roots = [_cleaned(root) for root in path.split(":")]
    if folder in roots:
        return
    advice = f'Set config_path = "{folder}" under {section} and restart containerd'
    # With the setting the agent no longer sees this config_path, which it needs for a literal list.
    if not is_literal and not certs_dir_mistake(roots[0]):
        advice = (
            f"Set the controller's CONTAINERD_CERTS_DIR to {roots[0]}, for all nodes. Or set this node's config_path to"
            f" {folder} and restart containerd"
        )
    raise NodeConfigError(RUNTIME_IGNORES_CERTS, f"containerd reads {path}, not {folder}. {advice}.")


def _cleaned(path: str) -> str:
    """Return a path as Go cleans it. POSIX keeps a second slash at the beginning."""
    path = os.path.normpath(path)
    return path[1:] if path.startswith("//") else path


def _default(runtime: Runtime) -> str | None:
    """Return the default of config_path; None if the version is unknown."""
    if runtime.version is None:
        return None
    return "" if runtime.is_before(_TWO_ROOTS_SINCE) else TWO_ROOTS


def _old_settings(registries: Iterable[dict[str, Any]], runtime: Runtime) -> str:
    """Name the settings that exclude config_path; of registry.configs only TLS does, in containerd 1."""
    found = {"registry.mirrors" for registry in registries if registry.get("mirrors")}
    for registry in registries:
        configs = table_at(registry, "configs")
        if runtime.is_before(SECOND_MAJOR) and any("tls" in table_at(configs, host) for host in configs):
            found.add("registry.configs")
    return " and ".join(sorted(found, reverse=True))
