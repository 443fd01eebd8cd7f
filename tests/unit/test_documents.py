"""Test that each command of the documents is run by a test, or is listed with a reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from deploy.images import PROGRAMS
from tests.documents import ALL, CHECKED, DOCUMENTS, ROOT, Scene, commands, coverage, exempt, is_complete

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("document", CHECKED)
def test_no_command_is_forgotten(document: str) -> None:
    """The remedy is a scene in tests/documents.py, or a row in docs/development.md."""
    assert [each.text for each in commands(document) if not coverage(each)] == []


def test_scenes_and_rows_have_commands() -> None:
    """A scene or a row whose command was changed in the document is out of date."""
    assert [scene for scene in ALL if not scene.commands()] == []
    found = [each for document in DOCUMENTS for each in commands(document)]
    assert [row for row in exempt() if not any(row.covers(each) for each in found)] == []


@pytest.mark.parametrize(
    ("text", "complete"),
    [("ls", True), ("ls \\", False), ("for a in b; do", False), ("for a in b; do\n  ls\ndone", True), ("ls |", False)],
)
def test_complete_commands_are_found(text: str, complete: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert is_complete(text) == complete


def test_commands_change_each_image(tmp_path: Path) -> None:
    """The commands of Install for kustomize, for a new registry and for a new tag."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    scenes = (Scene("docs/install.md", "Name the images", (0,)), Scene("docs/install.md", "Upgrade"))
    script = "\n".join(each for scene in scenes for each in scene.commands() if each.startswith("sed "))
    environment = {**os.environ, "REGISTRY": "r.example:5000/team", "TAG": "9.9-a"}
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=environment, check=True)
    found = images(tmp_path / "deploy")
    assert set(found) == {f"r.example:5000/team/registry-mirror/{program}:9.9-a" for program in PROGRAMS}
    assert len(found) == len(images(ROOT / "deploy"))


def images(folder: Path) -> list[str]:
    """Return the images that the manifests name, as kustomize replaces them."""
    replaced = yaml.safe_load((folder / "kustomization.yaml").read_text())["images"]
    named = {each["name"]: f"{each['newName']}:{each['newTag']}" for each in replaced}
    text = "".join(each.read_text() for each in folder.glob("*.yaml"))
    found = re.findall(r"(?:image|value): (\S*registry-mirror/\w+)([:@]\S+)", text)
    return [named.get(name, name + version) for name, version in found]


@pytest.mark.parametrize("document", ["install", "monitoring"])
def test_upgrades_take_images_of_new_chart(document: str) -> None:
    """`--reuse-values` would keep the digests of the old chart."""
    upgrades = [each.text for each in commands(f"docs/{document}.md") if each.text.startswith("helm upgrade ")]
    assert upgrades
    assert [each for each in upgrades if "--reset-then-reuse-values" not in each] == []


def test_readme_is_short() -> None:
    """Details belong to docs/."""
    assert len((ROOT / "README.md").read_text().split()) <= 640
