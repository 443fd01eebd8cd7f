"""What the components are built from, by which Go, and when they are built again."""

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
    """What compiles counts as much as what is compiled."""
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
    """What pip would fetch can compile the module."""
    needed, pinned = toolchain.needed_version(MODULE), toolchain.pinned_version()
    assert [int(part) for part in pinned.split(".")] >= [int(part) for part in needed.split(".")]


@pytest.mark.parametrize("says", ["go version go1.26.0 linux/amd64", "go version go1.27 linux/arm64"])
def test_the_machines_own_go_is_taken_when_new_enough(tmp_path: Path, says: str) -> None:
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


def test_what_is_built_is_found_again_without_a_compiler(tmp_path: Path) -> None:
    """A cached binary is used though there is neither Go nor pip: its place follows from the sources alone."""
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
    """Who has setup-envtest's programs and needs no controllers does not build anything."""
    environment = assets(tmp_path / "bin", "etcd", "kube-apiserver", "kubectl")
    wanted = ["etcd", "kube-apiserver", "kubectl"]
    assert binaries.locate(wanted, environment) == {name: tmp_path / "bin" / name for name in wanted}


def test_what_kubebuilder_assets_lack_is_built_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """setup-envtest has no controller manager: ours is added, and a line says so."""
    environment = assets(tmp_path / "bin", "etcd", "kube-apiserver", "kubectl")
    monkeypatch.setattr(binaries, "build", lambda _: tmp_path / "ours")
    found = binaries.locate(["etcd", "kube-apiserver", "kubectl", "kube-controller-manager"], environment)
    assert found["kube-controller-manager"] == tmp_path / "ours"
    assert found["etcd"] == tmp_path / "bin" / "etcd"
    assert "kube-controller-manager" in capsys.readouterr().err


def test_a_folder_of_assets_without_the_api_server_is_an_error(tmp_path: Path) -> None:
    """The message says what is missing where, and what to do."""
    environment = assets(tmp_path / "bin", "etcd")
    with pytest.raises(LocalClusterError, match=r"no kube-apiserver, no kubectl in it: .*setup-envtest use -p path"):
        binaries.locate(["etcd", "kube-apiserver", "kubectl"], environment)


def test_progress_in_a_log_is_a_line_now_and_then() -> None:
    """A log is not flooded: the first telling at once, the next one only after a while, the last one always."""
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
