"""Find the registry tables of containerd's configuration files that count, as each version of containerd does.

tests/node/test_containerd_versions.py compares the results with containerd 1.6, 1.7, 2.1 and 2.4 themselves.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hostess.containerd.runtime import Runtime

# Before, an imported file replaces the whole section of a plugin, and no file is migrated.
SECOND_MAJOR: Final = (2, 0)
# containerd 1.6 takes a file of any format.
_FORMAT_CHECKED_SINCE: Final = (1, 7)
_FOURTH_FORMAT_SINCE: Final = (2, 3)
# Names of the CRI plugin's section.
NEW: Final = "io.containerd.cri.v1.images"
OLD: Final = "io.containerd.grpc.v1.cri"
OLDEST: Final = "cri"
_FULL_NAMES_SINCE: Final = 2  # format


def registry_tables(texts: tuple[bytes, ...], runtime: Runtime) -> list[dict[str, Any]]:
    """Return the registry tables that count, in the order of their files."""
    files = [_parsed(text) for text in texts]
    tables = [_registry(file, _sections(file, files, runtime)) for file in files]
    found = [table for table in tables if table is not None]
    return found[-1:] if runtime.is_before(SECOND_MAJOR) else found


def section_to_set(texts: tuple[bytes, ...], runtime: Runtime) -> str:
    """Return the section of the main file in which a setting counts."""
    files = [_parsed(text) for text in texts] or [{}]
    sections = _sections(files[0], files, runtime)
    # An older section with a registry table replaces the newer one.
    plugins = table_at(files[0], "plugins")
    return next((each for each in reversed(sections) if "registry" in table_at(plugins, each)), sections[0])


def _sections(file: dict[str, Any], files: list[dict[str, Any]], runtime: Runtime) -> tuple[str, ...]:
    """Return the sections of a file that containerd reads; it takes the last with a registry table."""
    if runtime.version is None:
        return (OLDEST, OLD, NEW)
    if runtime.is_before(SECOND_MAJOR):
        return (OLD,) if _common_format(files) >= _FULL_NAMES_SINCE else (OLDEST,)
    return _merged_sections(files) if runtime.is_before(_FOURTH_FORMAT_SINCE) else _migrated(file, runtime)


def _merged_sections(files: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the section that containerd 2.0 to 2.2 reads: it merges all files, then migrates format 2.

    The last file that names a format decides. Alone, a file without one is not migrated.
    """
    formats = [found for file in files if (found := _format(file)) >= _FULL_NAMES_SINCE]
    is_old = formats[-1:] == [_FULL_NAMES_SINCE]
    has_old = any("registry" in table_at(table_at(file, "plugins"), OLD) for file in files)
    return (OLD,) if is_old and has_old else (NEW,)


def _migrated(file: dict[str, Any], runtime: Runtime) -> tuple[str, ...]:
    """Return the sections of a file that containerd 2 reads: older formats are migrated."""
    if _format(file) >= _newest_format(runtime):
        return (NEW,)
    return (NEW, OLD) if _format(file) >= _FULL_NAMES_SINCE else (NEW, OLDEST, OLD)


def _registry(file: dict[str, Any], sections: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the registry table of the last of these sections; None if the file has none of them."""
    plugins = table_at(file, "plugins")
    found = [plugins[section] for section in sections if section in plugins]
    tables = [table_at(each, "registry") for each in found if "registry" in each]
    return (tables[-1] if tables else {}) if found else None


def unusable(texts: tuple[bytes, ...], runtime: Runtime) -> str:
    """Return why the node's containerd cannot serve the kubelet with these files, as a sentence; empty if it can.

    Then it runs with another configuration, or was not restarted.
    """
    files = [_parsed(text) for text in texts]
    if any(_disables_cri(file) for file in files):
        return "They disable the CRI plugin."
    is_first_major = runtime.is_before(SECOND_MAJOR)
    found = _common_format(files) if is_first_major else max(map(_format, files), default=0)
    if found > _newest_format(runtime) and not runtime.is_before(_FORMAT_CHECKED_SINCE):
        return f"It does not know version {found}."
    if is_first_major and found >= _FULL_NAMES_SINCE:
        names = [name for file in files for name in table_at(file, "plugins") if "." not in name]
        return f"Version 2 has no section {names[0]}." if names else ""
    return ""


def _newest_format(runtime: Runtime) -> int:
    """Return the newest format that containerd knows, which needs no migration."""
    if runtime.is_before(SECOND_MAJOR):
        return _FULL_NAMES_SINCE
    return 3 if runtime.is_before(_FOURTH_FORMAT_SINCE) else 4


def _disables_cri(file: dict[str, Any]) -> bool:
    disabled = file.get("disabled_plugins")
    return isinstance(disabled, list) and any(name in disabled for name in (OLDEST, OLD, NEW))


def _common_format(files: list[dict[str, Any]]) -> int:
    """Return the format that containerd 1 takes for all files: that of the last file that names one."""
    return next((found for file in reversed(files) if (found := _format(file))), 0)


def _format(file: dict[str, Any]) -> int:
    found = file.get("version")
    return found if isinstance(found, int) else 0


def imports(text: bytes) -> list[str]:
    """Return the patterns of further configuration files."""
    found = _parsed(text).get("imports")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def is_toml(text: bytes) -> bool:
    """Return True for a valid file. containerd does not start with another one."""
    return _parsed_or_none(text) is not None


def table_at(within: Any, key: str) -> dict[str, Any]:
    """Return a table of a table; an empty one if there is none."""
    found = within.get(key) if isinstance(within, dict) else None
    return found if isinstance(found, dict) else {}


def _parsed(text: bytes) -> dict[str, Any]:
    return _parsed_or_none(text) or {}


def _parsed_or_none(text: bytes) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError):  # also numbers of thousands of digits, and brackets within brackets
        return None
