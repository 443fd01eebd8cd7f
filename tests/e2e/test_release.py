"""Complete a release from small images, and push it as the workflow does."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from common.version import VERSION
from deploy import images, release
from tests.localcluster.build import cache_folder
from tests.localcluster.node import archive, debian, programs
from tests.localcluster.node.accounts import Account, htpasswd
from tests.localcluster.ports import free_port
from tests.localcluster.system import REPOSITORY
from tests.support.certificates import Issuer
from tests.support.helm import Helm
from tests.support.kube import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from common.types import Json

CHART = f"registry-mirror-{VERSION}.tgz"
REGISTRY = "registry.example.com/team"
GROUPS = {"webhook": "webhook", "controller": "controller", "agent": "hostess", "cache": "cache"}
ACCOUNT = Account("publisher", r"back\nslash")


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Provide helm without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def dist(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Complete a release; return its folder."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    folder.mkdir()
    for program in images.PROGRAMS:
        file = folder.parent / program
        archive.write(archive.Image(f"local.test/{program}:{VERSION}", [program.encode()]), file)
        with tarfile.open(file) as layout:
            layout.extractall(folder / program, filter="data")
    release.complete(VERSION, folder, helm.binary, REGISTRY)
    return folder


def test_chart_names_images_by_digest(dist: Path, helm: Helm) -> None:
    """The chart has the version, and the digests of the layouts, also in what it renders."""
    chart = yaml.safe_load(helm.run("show", "chart", dist / CHART).stdout)
    values = yaml.safe_load(helm.run("show", "values", dist / CHART).stdout)
    assert {chart["version"], chart["appVersion"]} == {VERSION}
    assert {GROUPS[name]: values[name]["image"]["digest"] for name in GROUPS} == digests(dist)
    rendered = helm.run("template", "registry-mirror", dist / CHART).stdout
    for program, digest in digests(dist).items():
        assert f"{REGISTRY}/registry-mirror/{program}@{digest}" in rendered


def test_sums_cover_all_files(dist: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", release.SUMS], cwd=dist, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    files = {each.name for each in dist.iterdir() if each.is_file() and not each.is_symlink()}
    assert {line.partition(": ")[0] for line in done.stdout.splitlines()} == files - {release.SUMS}
    assert {CHART, *(f"registry-mirror-{program}-{VERSION}.oci.tar" for program in images.PROGRAMS)} <= files


def test_archives_are_layouts(dist: Path) -> None:
    for program, digest in digests(dist).items():
        with tarfile.open(dist / f"registry-mirror-{program}-{VERSION}.oci.tar") as packed:
            index = packed.extractfile("index.json")
            assert index
            assert json.load(index)["manifests"][0]["digest"] == digest


def test_workflow_pushes_with_one_login(dist: Path, tmp_path: Path) -> None:
    """A registry that demands the account gets images and chart from the workflow's own commands.

    The images keep the digests that the chart names.
    """
    debian.install({"skopeo": debian.NEEDED["skopeo"]})
    (home := tmp_path / "home").mkdir()
    (checkout := tmp_path / "checkout").mkdir()
    for each in (*(REPOSITORY / name for name in ("Makefile", ".venv", "common", "deploy", "tests")), dist):
        (checkout / each.name).symlink_to(each)
    with registry(tmp_path) as (address, ca):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CACHE_HOME": str(cache_folder(os.environ).parent),
            "SSL_CERT_FILE": ca,
            "REGISTRY": f"{address}/team",
            "REGISTRY_USERNAME": ACCOUNT.username,
            "REGISTRY_PASSWORD": ACCOUNT.password,
            "GITHUB_REF_NAME": f"v{VERSION}",
        }
        command = ["sh", "-ec", step("Push images and chart")["run"]]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with httpx.Client(
            verify=ssl.create_default_context(cafile=ca), trust_env=False, auth=(ACCOUNT.username, ACCOUNT.password)
        ) as http:
            for program, digest in digests(dist).items():
                url = f"https://{address}/v2/team/registry-mirror/{program}/manifests/{VERSION}"
                found = http.head(url, headers={"Accept": archive.MANIFEST})
                assert found.headers["Docker-Content-Digest"] == digest
            tags = http.get(f"https://{address}/v2/team/charts/registry-mirror/tags/list").json()
            assert tags["tags"] == [VERSION]


def step(name: str) -> Json:
    """Return a step of the workflow."""
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text())
    (found,) = [each for each in workflow["jobs"]["release"]["steps"] if each.get("name") == name]
    return dict(found)


def digests(dist: Path) -> dict[str, str]:
    """Return the digest of each layout."""
    layouts = {program: json.loads((dist / program / "index.json").read_text()) for program in images.PROGRAMS}
    return {program: index["manifests"][0]["digest"] for program, index in layouts.items()}


@contextmanager
def registry(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a registry that demands the account; yield its address and the file of its CA."""
    issuer, address = Issuer(), f"127.0.0.1:{free_port()}"
    issued = issuer.issue()
    files = {
        "ca": issuer.certificate,
        "crt": issued.certificate,
        "key": issued.key,
        "users": htpasswd(ACCOUNT).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    configuration = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address, "tls": {"certificate": str(folder / "crt"), "key": str(folder / "key")}},
        "auth": {"htpasswd": {"realm": "registry", "path": str(folder / "users")}},
    }
    (folder / "config.json").write_text(json.dumps(configuration))  # JSON is YAML
    command = [str(programs.build(programs.REGISTRY)), "serve", str(folder / "config.json")]
    with subprocess.Popen(command, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"}) as process:
        try:
            until(lambda: answers(f"https://{address}/v2/", str(folder / "ca")), why="the registry answers", seconds=30)
            yield address, str(folder / "ca")
        finally:
            process.kill()


def answers(url: str, ca: str) -> bool:
    """Return True if a registry demands an account."""
    try:
        return (
            httpx.get(url, verify=ssl.create_default_context(cafile=ca), trust_env=False).status_code
            == httpx.codes.UNAUTHORIZED
        )
    except httpx.TransportError:
        return False
