"""Configurations of containerd, and what a containerd and the node agent each make of them.

    python -m tests.support.containerd_cases containerd://1.7.35    # prints the agent's conclusion as JSON

Both run in a mount namespace of their own, with the case as /etc/containerd.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hostess.containerd import config_files, config_path
from hostess.containerd.runtime import parse_version
from hostess.node_state import NodeConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER: Final = "/etc/containerd"
CERTS: Final = f"{FOLDER}/certs.d"
USED, NOT_SURE = "used", "not sure"
AS_ONE = "used by a link: two roots are taken for one folder"
REFUSED = "refused"  # containerd does not start with it
OLD, NEW = '"io.containerd.grpc.v1.cri"', '"io.containerd.cri.v1.images"'
TWO = f"{CERTS}:/etc/docker/certs.d"


def registry(section: str, path: str | None = CERTS, more: str = "") -> str:
    """Return the registry table of a CRI section."""
    line = "" if path is None else f'config_path = "{path}"\n'
    return f"[plugins.{section}.registry]\n{line}{more}"


def mirrors(section: str) -> str:
    """Return a mirror in the format before hosts.toml."""
    return f'[plugins.{section}.registry.mirrors."a.b"]\nendpoint = ["https://c.d"]\n'


def configs(section: str, kind: str) -> str:
    """Return TLS settings or a login in the format before hosts.toml."""
    value = "insecure_skip_verify = true" if kind == "tls" else 'username = "u"'
    return f'[plugins.{section}.registry.configs."a.b".{kind}]\n{value}\n'


def importing(*patterns: str, version: int = 2, rest: str = "") -> str:
    """Return a main file that imports others."""
    return f"version = {version}\nimports = {json.dumps(patterns)}\n{rest}"


V2, V3 = "version = 2\n", "version = 3\n"
MAIN: Final = "config.toml"
OTHER_OLD = f"[plugins.{OLD}]\nenable_selinux = false\n"
ELSEWHERE = "/etc/elsewhere"
# Files below /etc/containerd by name of the case.
CASES: Final[Mapping[str, Mapping[str, str]]] = {
    "no file": {},
    "empty file": {MAIN: ""},
    "version 2": {MAIN: V2},
    "version 3": {MAIN: V3},
    "version 4": {MAIN: "version = 4\n" + registry(NEW)},
    "one root, version 2": {MAIN: V2 + registry(OLD)},
    "one root, version 3": {MAIN: V3 + registry(NEW)},
    "one root with a slash": {MAIN: V2 + registry(OLD, f"{CERTS}/")},
    "two roots, version 2": {MAIN: V2 + registry(OLD, TWO)},
    "two roots, version 3": {MAIN: V3 + registry(NEW, TWO)},
    "empty path, version 2": {MAIN: V2 + registry(OLD, "")},
    "empty path, version 3": {MAIN: V3 + registry(NEW, "")},
    "another path": {MAIN: V2 + registry(OLD, ELSEWHERE)},
    "old section in version 3": {MAIN: V3 + registry(OLD)},
    "new section in version 2": {MAIN: V2 + registry(NEW)},
    "old section without version": {MAIN: registry(OLD)},
    "new section without version": {MAIN: registry(NEW)},
    "oldest section without version": {MAIN: registry("cri")},
    "oldest section in version 2": {MAIN: V2 + registry("cri")},
    "old and new section, version 2": {MAIN: V2 + registry(OLD) + registry(NEW, ELSEWHERE)},
    "old and new section, version 3": {MAIN: V3 + registry(OLD, ELSEWHERE) + registry(NEW)},
    "mirrors": {MAIN: V2 + mirrors(OLD)},
    "mirrors, version 3": {MAIN: V3 + mirrors(NEW)},
    "mirrors and path": {MAIN: V2 + registry(OLD) + mirrors(OLD)},
    "configs with TLS": {MAIN: V2 + configs(OLD, "tls")},
    "configs with TLS and path": {MAIN: V2 + registry(OLD) + configs(OLD, "tls")},
    "configs with TLS and path, version 3": {MAIN: V3 + registry(NEW) + configs(NEW, "tls")},
    "configs with login and path": {MAIN: V2 + registry(OLD) + configs(OLD, "auth")},
    "import sets the path": {MAIN: importing(f"{FOLDER}/own.toml"), "own.toml": V2 + registry(OLD)},
    "import sets the path, version 3": {
        MAIN: importing(f"{FOLDER}/own.toml", version=3),
        "own.toml": V3 + registry(NEW),
    },
    "import changes the path": {
        MAIN: importing(f"{FOLDER}/own.toml", rest=registry(OLD, ELSEWHERE)),
        "own.toml": V2 + registry(OLD),
    },
    "import empties the path": {
        MAIN: importing(f"{FOLDER}/own.toml", rest=registry(OLD)),
        "own.toml": V2 + registry(OLD, ""),
    },
    "import of other settings": {
        MAIN: importing(f"{FOLDER}/own.toml", rest=registry(OLD)),
        "own.toml": V2 + OTHER_OLD,
    },
    "import adds mirrors": {
        MAIN: importing(f"{FOLDER}/own.toml", rest=registry(OLD)),
        "own.toml": V2 + mirrors(OLD),
    },
    "import of version 3 in version 2": {MAIN: importing(f"{FOLDER}/own.toml"), "own.toml": V3 + registry(NEW)},
    "import of version 2 in version 3": {
        MAIN: importing(f"{FOLDER}/own.toml", version=3),
        "own.toml": V2 + registry(OLD),
    },
    "import without version": {MAIN: importing(f"{FOLDER}/own.toml"), "own.toml": registry(OLD)},
    "relative import": {MAIN: importing("own.toml"), "own.toml": V2 + registry(OLD)},
    "relative pattern": {MAIN: importing("conf.d/*.toml"), "conf.d/own.toml": V2 + registry(OLD)},
    "pattern, last file counts": {
        MAIN: importing(f"{FOLDER}/conf.d/*.toml"),
        "conf.d/1.toml": V2 + registry(OLD, ELSEWHERE),
        "conf.d/2.toml": V2 + registry(OLD),
    },
    "pattern without files": {MAIN: importing(f"{FOLDER}/conf.d/*.toml", rest=registry(OLD))},
    "missing import": {MAIN: importing(f"{FOLDER}/own.toml", rest=registry(OLD))},
    "import of an import": {
        MAIN: importing(f"{FOLDER}/own.toml"),
        "own.toml": importing(f"{FOLDER}/more.toml"),
        "more.toml": V2 + registry(OLD),
    },
    "import outside of the folder": {MAIN: importing("/tmp/own.toml", rest=registry(OLD))},  # noqa: S108 (only a name)
    "CRI disabled": {MAIN: V2 + 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n' + registry(OLD)},
    "drop-in without an import": {MAIN: V2, "conf.d/own.toml": V2 + registry(OLD)},
    "no valid TOML": {MAIN: V2 + "["},
}


def in_namespace(case: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that sees `case` as /etc/containerd."""
    script = 'mkdir -p /etc/containerd && mount --bind "$1" /etc/containerd && shift && exec "$@"'
    whole = ["unshare", "--mount", "sh", "-c", script, "sh", str(case), *command]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def verdict_of_containerd(binary: Path, version: tuple[int, int], case: Path) -> str:
    """Return what a containerd makes of the case, by its own dump of the configuration."""
    done = in_namespace(case, [str(binary), "config", "dump"])
    if done.returncode:
        return REFUSED
    plugins = tomllib.loads(done.stdout)["plugins"]
    found = plugins.get("io.containerd.cri.v1.images", plugins.get("io.containerd.grpc.v1.cri", {})).get("registry", {})
    return judge(found, version)


def judge(found: Mapping[str, Any], version: tuple[int, int]) -> str:
    """Return what a containerd does with this registry table, by its code for each version."""
    has_tls = any(each.get("tls") for each in (found.get("configs") or {}).values())
    if found.get("mirrors") or (has_tls and version < (2, 0)):
        return "RuntimeUsesMirrors"
    default = "" if version < (2, 2) else config_path.TWO_ROOTS
    path = found.get("config_path") or default
    if CERTS not in [root.rstrip("/") for root in path.split(":")]:
        return "RuntimeIgnoresCerts"
    return AS_ONE if ":" in path and version >= (2, 1) else USED


def verdict_of_agent(runtime: str, case: Path) -> str:
    """Return what the agent concludes."""
    done = in_namespace(case, [sys.executable, "-m", __spec__.name, runtime])
    return str(json.loads(done.stdout)) if done.returncode == 0 else done.stderr


def _conclusion(runtime: str) -> str:
    known = parse_version(runtime)
    relative = not known.is_before(config_path.RELATIVE_SINCE)
    found = config_files.read(Path(FOLDER), relative_patterns=relative)
    try:
        reading = config_path.reading(found.texts, found.doubts, known, CERTS)
    except NodeConfigError as error:
        return error.reason
    return NOT_SURE if reading.doubt else AS_ONE if reading.literal else USED


if __name__ == "__main__":
    print(json.dumps(_conclusion(sys.argv[1])))  # noqa: T201 (the answer)
