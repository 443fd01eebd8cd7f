"""Test the pure parts of images and releases."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from common.version import VERSION
from deploy import release
from deploy.images import PROGRAMS
from deploy.release import CHART, notes, problems, with_images
from deploy.wheels import options
from tests.localcluster.system import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = """# Changelog

## Unreleased

## 1.2.0 - 2026-01-02

### Added

- A thing.

## 1.1.0

## 1.0.0

- The first.
"""


@pytest.mark.parametrize(
    ("version", "text"),
    [("1.2.0", "### Added\n\n- A thing."), ("1.0.0", "- The first."), ("1.1.0", ""), ("1.2", ""), ("Unreleased", "")],
)
def test_notes_are_section_of_version(version: str, text: str) -> None:
    assert notes(version, CHANGELOG) == text


def test_other_version_is_refused() -> None:
    found = "\n".join(problems("99.0.0"))
    assert "common/version.py has version" in found
    assert "CHANGELOG.md has no section `## 99.0.0`" in found


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a repository whose commit is this version, in the place of this checkout."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr(release, "REPOSITORY", folder)
    git(folder, "init", "--quiet")
    commit(folder, f"## {VERSION}\n\n- A thing.\n")
    return folder


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True)


def commit(folder: Path, changelog: str) -> None:
    (folder / "CHANGELOG.md").write_text(changelog)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-gpg-sign", "--message=a commit")


def test_tagged_commit_is_accepted(checkout: Path) -> None:
    git(checkout, "tag", f"v{VERSION}")
    assert list(problems(VERSION)) == []


def test_tag_of_other_commit_is_refused(checkout: Path) -> None:
    git(checkout, "tag", f"v{VERSION}")
    commit(checkout, f"## {VERSION}\n\n- Another thing.\n")
    assert [each.partition(",")[0] for each in problems(VERSION)] == [f"the tag v{VERSION} is another commit"]


def test_change_in_working_tree_is_refused(checkout: Path) -> None:
    (checkout / "file").touch()
    assert list(problems(VERSION)) == ["the working tree has changes; commit them"]


@pytest.mark.parametrize(
    ("version", "changelog", "reason"),
    [
        (VERSION, "## Unreleased\n\n- A thing.\n", "CHANGELOG.md has no section"),
        ("99.0.0", "## 99.0.0\n\n- A thing.\n", "common/version.py has version"),
    ],
)
def test_refused_release_writes_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str], version: str, changelog: str, reason: str
) -> None:
    commit(checkout, changelog)
    (dist := checkout.parent / "dist").mkdir()
    (dist / "file").touch()
    assert release.main(version, str(dist), "helm") == 1
    assert [each.name for each in dist.iterdir()] == ["file"]
    printed = capsys.readouterr().err
    assert printed.startswith(f"release: {reason}")
    assert printed.count("release: ") == 1


def test_sums_are_signed_if_cosign_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums, cosign, bundle = (tmp_path / name for name in (release.SUMS, "cosign", f"{release.SUMS}.sigstore.json"))
    sums.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    release.sign(sums)
    assert not bundle.exists()
    cosign.write_text(f'#!/bin/sh\necho "$@" > {bundle}\n')
    cosign.chmod(0o755)
    release.sign(sums)
    assert bundle.read_text().split() == ["sign-blob", "--yes", f"--bundle={bundle}", str(sums)]


def test_failed_signature_ends_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cosign").symlink_to(str(shutil.which("false")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(subprocess.CalledProcessError):
        release.sign(tmp_path / release.SUMS)


def test_release_has_digest_of_each_image() -> None:
    digests = {program: f"sha256:{number:064}" for number, program in enumerate(PROGRAMS)}
    text = with_images((CHART / "values.yaml").read_text(), digests, "r.example/team")
    values = yaml.safe_load(text)
    groups = {"webhook": "webhook", "controller": "controller", "agent": "hostess", "cache": "cache"}
    assert {groups[name]: values[name]["image"]["digest"] for name in groups} == digests
    assert values["global"]["imageRegistry"] == "r.example/team"


def test_wheels_follow_architecture() -> None:
    found = options("arm64", "x86_64", "2.36")
    assert (found[0], found[-1]) == ("--platform=manylinux_2_36_aarch64", "--platform=manylinux2014_aarch64")
    assert "--platform=manylinux_2_17_aarch64" in found
    for native in (("arm64", "aarch64"), ("amd64", "x86_64"), ("", "x86_64")):
        assert options(*native, "2.36") == []


def test_job_installs_what_actions_need() -> None:
    """The installer of cosign calls curl, and checkout calls git. The container has neither."""
    steps = yaml.safe_load((REPOSITORY / ".github/workflows/release.yml").read_text())["jobs"]["release"]["steps"]
    assert {"curl", "git", "gh", "skopeo", "ca-certificates"} <= set(steps[0]["run"].split())


def test_workflows_call_existing_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    workflows = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
    texts = "\n".join(each.read_text() for each in workflows)
    called = set(re.findall(r"\bmake ([a-z]+) VERSION", texts))
    assert called == {"release", "push"} <= targets
    assert ".ci/run" in texts
    assert [each.name for each in workflows if "jobs" not in yaml.safe_load(each.read_text())] == []
