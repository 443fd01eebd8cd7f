"""Give the settings of this machine's pip to a build in a container."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Sections of `pip config list`; later ones override earlier ones. `:env:` are variables PIP_...
SECTIONS = ("global", "install", ":env:")


def mounts(folder: Path) -> list[str]:
    """Return the volumes (`from:to:ro`) that give pip in a container the settings of this machine.

    Writes a pip.conf into `folder`. Files and folders in the settings are mounted at the same path.
    """
    found = settings()
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(found.items())))
    named = sorted({value for value in found.values() if value.startswith("/") and Path(value).exists()})
    return [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in named)]


def settings() -> Mapping[str, str]:
    """Return pip's settings by name; empty without pip."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        found.setdefault(section, {})[key] = str(ast.literal_eval(value))
    return {key: value for section in SECTIONS for key, value in found.get(section, {}).items()}
