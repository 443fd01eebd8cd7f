"""Test that the schema of the chart's values refuses what the programs refuse."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from common.admission_warnings import warnings_for
from common.model import RegistryMirrorSpec
from common.settings import Settings, SettingsError, read
from common.version import VERSION
from controller.settings import ControllerSettings
from deploy.manifests import TEMPLATES
from deploy.values_schema import CHART_SETS, FILE, schema, settings_of, text, value_name
from tests.localcluster.system import REPOSITORY
from webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from common.types import Json

VALUES = yaml.safe_load((FILE.parent / "values.yaml").read_text())
PROGRAMS: tuple[type[Settings], ...] = (ControllerSettings, WebhookSettings)
REQUIRED = {"TLS_CERT_FILE": "/tls.crt", "TLS_KEY_FILE": "/tls.key"}
DIGEST = "sha256:" + "a" * 64
# Values that a user may write. Each setting is checked with all of them.
NUMBERS = [0, -1, 1, 30, 0.5, 3600, 3601, 65536, True, False]
LISTS = [[], ["a"], ["A.b", "*.internal"], ["a b"], ["x", "1.2.3.4"], ["a", "B"]]
NAMES = ["", "a", "A", "a.b", "a,b", "a b", " a", "x" * 64, "x" * 254, "INFO", "LOUD"]
DURATIONS = ["1", "1h", "1h30m", "90s", "10y", "-1h", "9999999h"]
IMAGES = ["r.example/a", "r.example:5000/a/b:1.0", f"a@{DIGEST}", f"a:1@{DIGEST}", "a@sha256:1", "a/B", "a:b:c", "a//b"]
PATHS = ["/", "/etc/a", "/etc/a/b", "/etc/a/../b", "/etc/a/./b", "/etc/a/b/", "//a/b/c", "/etc/a:b/c", "a/b/c"]
MOUNTED = ["/etc/containers/certs.d", "/etc/registry-mirror/certs.d", "/etc/containers.d/certs.d"]
SELECTORS = ["a=b", "a=b,c!=d", "a==b, e in (f,g) ,h notin (i),j,!k,l>1", "a=", "example.com/a=b"]
WRONG_SELECTORS = ["a in ()", "a>b", "!a=b", "a/=b", "a=" + "x" * 64, "a in b", "a b", "a in (b", "=x"]
# Values that a user may write. Each setting is checked with all of them.
TRIED: list[Any] = [*NUMBERS, *LISTS, *NAMES, *DURATIONS, *IMAGES, *PATHS, *MOUNTED, *SELECTORS, *WRONG_SELECTORS]
# Variables that the chart fixes, or composes of checked parts.
NOT_VALUES = CHART_SETS - {
    "HOSTESS_NODE_SELECTOR",
    "HOSTESS_PRIORITY_CLASS",
    "IMAGE_PULL_SECRETS",
    "MASQUERADE_DOMAINS",
}
# Files that may name the version of a release, as a tag, in a file's name or as a value.
NAMING = ("*.md", "*.yaml", "*.yml", "*.py", "Makefile", ":!CHANGELOG.md", ":!tests")
NAMED = re.compile(
    r"(?:registry[-_]mirror[\w/$-]*[:-]|--version[ =]|\bVERSION="
    r"|(?:newTag|targetRevision|placeholder): |^(?:appV|v)ersion: )v?(\d+\.\d+\.\d+)|semver: (\S+)",
    re.MULTILINE,
)
NAMES_VERSION = {
    ".github/ISSUE_TEMPLATE/bug.yml",
    "README.md",
    "controller/settings.py",
    *(f"deploy/{name}.yaml" for name in ("chart/Chart", "controller", "dialer", "kustomization", "webhook")),
    *(f"deploy/gitops/{name}.yaml" for name in ("argocd", "flux")),
    *(f"docs/{name}.md" for name in ("configuration", "install", "plugin")),
}
CHECKED = [(kind, name) for kind in PROGRAMS for name in settings_of(kind) if name not in NOT_VALUES]


def accepts(rule: Json, value: object) -> bool:
    return bool(jsonschema.Draft202012Validator(rule).is_valid(value))


def program_accepts(kind: type[Settings], variable: str, value: object) -> bool:
    """Read the setting as the chart writes it."""
    written = ",".join(value) if isinstance(value, list) else str(value)
    written = written.lower() if isinstance(value, bool) else written
    try:
        read(kind, {**REQUIRED, variable: written})
    except SettingsError as error:
        # A rule about several settings is not that of one value.
        return not str(error).startswith(f"{variable}=")
    return True


def test_schema_equals_generator_output() -> None:
    assert FILE.read_text() == text(), "run `make manifests`"


@pytest.mark.parametrize(
    ("kind", "variable"),
    CHECKED,
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_schema_refuses_what_program_refuses(kind: type[Settings], variable: str) -> None:
    rule = settings_of(kind)[variable]
    accepted = [value for value in TRIED if accepts(rule, value)]
    assert [value for value in accepted if not program_accepts(kind, variable, value)] == []
    assert accepted, "the schema refuses everything"


def test_schema_accepts_defaults_of_chart() -> None:
    jsonschema.Draft202012Validator(schema()).validate(VALUES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"controller": {"settings": {"nodeCleanupDeadline": 3601}}},
        {"controller": {"settings": {"unknown": "x"}}},
        {"controller": {"replica": 3}},
        {"webhook": {"image": {"digest": "1.0"}}},
        {"global": {"masqueradeDomains": ["not a domain"]}},
        {"global": {"imagePullSecrets": ["pull"]}},
        {"agent": {"nodeSelector": "a in ()"}},
        {"certManager": {"enabled": True}, "controller": {"settings": {"externalWebhookCertificate": True}}},
    ],
    ids=json.dumps,
)
def test_schema_refuses_wrong_values(wrong: Json) -> None:
    assert not accepts(schema(), merged(VALUES, wrong))


@pytest.mark.parametrize(
    ("registry", "repository", "accepted"),
    [
        ("reg.example.com/my..path", "a", False),
        ("reg.example.com/-a", "a", False),
        ("reg.example.com/a.", "a", False),
        ("reg.example.com//a", "a", False),
        ("reg.example.com", "b.example:5000/a", False),
        ("reg.example.com", "[fd00::1]:5000/a", False),
        ("", "-a", False),
        ("[fd00::1]:5000", "a", True),
        ("[fd00::1]:5000/team/", "a/b", True),
        ("R.example.com:5000/my__path", "docker.io/a", True),
        ("", "B.example:5000/a", True),
        ("", "[fd00::1]:5000/a", True),
    ],
)
def test_schema_accepts_composed_images_of_controller(registry: str, repository: str, *, accepted: bool) -> None:
    """Registry and repository are accepted if the controller accepts the image that the chart composes of them."""
    image = f"{registry.removesuffix('/')}/{repository}:1.0".removeprefix("/")
    assert program_accepts(ControllerSettings, "CACHE_IMAGE", image) == accepted
    values = {"global": {"imageRegistry": registry}, "cache": {"image": {"repository": repository}}}
    assert accepts(schema(), merged(VALUES, values)) == accepted


def merged(values: Json, other: Json) -> Json:
    shared = [key for key in values.keys() & other.keys() if isinstance(other[key], dict)]
    return {**values, **other, **{key: merged(values[key], other[key]) for key in shared}}


def test_each_value_is_in_schema_and_described() -> None:
    """The schema has no value that values.yaml lacks, and the reverse."""
    assert paths_of_schema(schema()) == paths_of_values(VALUES)
    comments = (FILE.parent / "values.yaml").read_text().count("# -- ")
    assert comments == len(paths_of_values(VALUES))


def paths_of_schema(rule: Json, path: str = "") -> set[str]:
    properties = rule.get("properties", {})
    if not properties or path.endswith(".settings"):
        return {path}
    return set().union(*(paths_of_schema(each, f"{path}.{name}") for name, each in properties.items()))


def paths_of_values(value: object, path: str = "") -> set[str]:
    if not isinstance(value, dict) or not value or path.endswith(".resources"):
        return {path}
    return set().union(*(paths_of_values(each, f"{path}.{name}") for name, each in value.items()))


def test_notes_name_an_upstream_without_warnings() -> None:
    (upstream,) = re.findall(r"upstreamUrl: (\S+)", (TEMPLATES / "NOTES.txt").read_text())
    assert warnings_for(RegistryMirrorSpec.model_validate({"upstreamUrl": upstream})) == []


def test_variables_set_by_chart_exist() -> None:
    known = settings_of(ControllerSettings).keys() | settings_of(WebhookSettings).keys()
    assert known >= CHART_SETS
    assert value_name("NODE_CLEANUP_DEADLINE") == "nodeCleanupDeadline"


def test_drain_knows_the_default_deadline() -> None:
    """The chart compares its own value with it, because it does not set the variable."""
    (number,) = re.findall(r'"nodeCleanupDeadline" (\d+)', (TEMPLATES / "hooks" / "drain.yaml").read_text())
    assert float(number) == ControllerSettings.model_fields["node_cleanup_deadline"].default


def test_versions_are_one() -> None:
    """Documents, manifests and defaults name the version of the programs, or the example 1.2.3."""
    listed = subprocess.run(["git", "ls-files", *NAMING], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    named = {
        (file, each[1] or each[2])
        for file in listed.stdout.split()
        for each in NAMED.finditer((REPOSITORY / file).read_text())
    }
    ours = {VERSION, f"{VERSION.rpartition('.')[0]}.x"}
    wrong = sorted(each for each in named if each[1] not in {*ours, "1.2.3"})
    assert not wrong, wrong
    assert {file for file, version in named if version in ours} >= NAMES_VERSION


def test_each_template_is_in_kustomization() -> None:
    listed = yaml.safe_load((REPOSITORY / "deploy" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(each.name for each in TEMPLATES.glob("*.yaml"))


def test_chart_has_crd_of_deploy() -> None:
    folder = REPOSITORY / "deploy"
    assert (folder / "chart" / "files" / "crd.yaml").read_text() == (folder / "crd.yaml").read_text(), "run `make crd`"
