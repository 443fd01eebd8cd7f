"""Test the build of the components: its key, its Go and its cache."""

import io
import re
import shutil
from pathlib import Path

import pytest

from tests.localcluster import binaries, build, toolchain
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.progress import Progress, duration

MODULE = (build.COMPONENTS / "go.mod").read_text()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Copy the sources of the components to where they can be changed."""
    for name in build.SOURCES:
        shutil.copy(build.COMPONENTS / name, tmp_path)
    return tmp_path


def a_go(folder: Path, says: str) -> str:
    """Make a Go that answers `go version` with `says`, and return the PATH that leads to it."""
    folder.mkdir()
    (folder / "go").write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / "go").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("name", build.SOURCES)
def test_a_changed_source_is_another_build(sources: Path, name: str) -> None:
    """Each file that goes into the binary counts, and the same files are the same build wherever they lie."""
    before = build.build_key(sources, "1.26.6")
    assert before == build.build_key(build.COMPONENTS, "1.26.6")
    with (sources / name).open("a") as file:
        file.write("\n")
    assert build.build_key(sources, "1.26.6") != before


def test_another_go_or_other_flags_are_another_build(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go and its flags are part of the key."""
    before = build.build_key(sources, "1.26.6")
    assert build.build_key(sources, "1.26.7") != before
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-race"))
    assert build.build_key(sources, "1.26.6") != before


def test_the_components_know_their_version() -> None:
    """The version of Kubernetes in go.mod goes to both packages that tell it."""
    flags = build.linker_flags("require (\n\tk8s.io/kubernetes v1.36.3\n)").split()
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert {f"{package}.gitVersion=v1.36.3", f"{package}.gitMajor=1", f"{package}.gitMinor=36"} <= set(flags)


def test_all_parts_of_kubernetes_are_of_one_version() -> None:
    """The v0.36.3 that go.mod replaces parts with belong to the v1.36.3 that it requires."""
    kubernetes = re.search(r"k8s\.io/kubernetes v1\.(\S+)", MODULE)
    assert kubernetes
    replaced = re.findall(r"^\t(k8s\.io/\S+) => \1 v0\.(\S+)$", MODULE, re.MULTILINE)
    assert replaced
    assert {version for _, version in replaced} == {kubernetes[1]}


def test_the_pinned_go_is_new_enough() -> None:
    """The Go of pip can compile the module."""
    needed, pinned = toolchain.needed_version(MODULE), toolchain.pinned_version()
    assert [int(part) for part in pinned.split(".")] >= [int(part) for part in needed.split(".")]


@pytest.mark.parametrize("says", ["go version go1.26.0 linux/amd64", "go version go1.27 linux/arm64"])
def test_new_enough_go_of_machine_is_used(tmp_path: Path, says: str) -> None:
    """It is there already, and its owner keeps it up to date."""
    path = a_go(tmp_path / "bin", says)
    go = toolchain.find("1.26.0", tmp_path, path)
    assert (go.command, go.folder) == (tmp_path / "bin" / "go", None)


@pytest.mark.parametrize("says", ["go version go1.25.9 linux/amd64", "go version go1.3 linux/amd64", "no version set"])
def test_an_old_or_broken_go_is_passed_over(tmp_path: Path, says: str) -> None:
    """Then, as without any Go, the pinned one is taken, from the cache."""
    path = a_go(tmp_path / "bin", says)
    go = toolchain.find("1.26.0", tmp_path, path)
    assert go == toolchain.find("1.26.0", tmp_path, "/nowhere")
    assert go.version == toolchain.pinned_version()
    assert go.command.is_relative_to(tmp_path)


def test_cached_build_needs_no_compiler(tmp_path: Path) -> None:
    """A cached binary needs no Go and no pip: its path depends on the sources only."""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/nowhere"}
    key = build.build_key(build.COMPONENTS, toolchain.pinned_version())
    binary = tmp_path / "registry-mirror" / f"kubernetes-{key}" / "kubernetes"
    binary.parent.mkdir(parents=True)
    binary.touch()
    assert build.build(environment) == binary


def assets(folder: Path, *names: str) -> dict[str, str]:
    """Make a folder with these programs, and the environment that names it."""
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return {"KUBEBUILDER_ASSETS": str(folder)}


def test_kubebuilder_assets_are_taken_instead_of_a_build(tmp_path: Path) -> None:
    """The programs of setup-envtest need no build."""
    environment = assets(tmp_path / "bin", "etcd", "kube-apiserver", "kubectl")
    wanted = ["etcd", "kube-apiserver", "kubectl"]
    assert binaries.locate(wanted, environment) == {name: tmp_path / "bin" / name for name in wanted}


def test_missing_kubebuilder_assets_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """setup-envtest has no controller manager: ours is added, and a line reports it."""
    environment = assets(tmp_path / "bin", "etcd", "kube-apiserver", "kubectl")
    monkeypatch.setattr(binaries, "build", lambda _: tmp_path / "ours")
    found = binaries.locate(["etcd", "kube-apiserver", "kubectl", "kube-controller-manager"], environment)
    assert found["kube-controller-manager"] == tmp_path / "ours"
    assert found["etcd"] == tmp_path / "bin" / "etcd"
    assert "kube-controller-manager" in capsys.readouterr().err


def test_assets_without_api_server_are_refused(tmp_path: Path) -> None:
    """The message says what is missing where, and what to do."""
    environment = assets(tmp_path / "bin", "etcd")
    with pytest.raises(LocalClusterError, match=r"no kube-apiserver, no kubectl in it: .*setup-envtest use -p path"):
        binaries.locate(["etcd", "kube-apiserver", "kubectl"], environment)


def test_progress_in_log_is_rare() -> None:
    """The first line is printed at once, the next after a while, the last always."""
    stream = io.StringIO()
    progress = Progress(stream)
    for count in range(100):
        progress.show(f"{count} of 100")
    progress.finish("done")
    assert stream.getvalue() == "0 of 100 (0 s)\ndone (0 s)\n"


@pytest.mark.parametrize(("seconds", "spelt"), [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (305, "5 min 05 s")])
def test_durations_are_spelt_for_people(seconds: float, spelt: str) -> None:
    """Minutes appear when there is one."""
    assert duration(seconds) == spelt
