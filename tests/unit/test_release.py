"""Test the pure parts of images and releases."""

from __future__ import annotations

import re

import pytest
import yaml

from deploy.images import PROGRAMS
from deploy.release import CHART, notes, problems, with_images
from deploy.wheels import options
from tests.localcluster.system import REPOSITORY

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


def test_workflows_call_existing_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    workflows = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
    texts = "\n".join(each.read_text() for each in workflows)
    called = set(re.findall(r"\bmake ([a-z]+) VERSION", texts))
    assert called == {"release", "push"} <= targets
    assert ".ci/run" in texts
    assert [each.name for each in workflows if "jobs" not in yaml.safe_load(each.read_text())] == []
