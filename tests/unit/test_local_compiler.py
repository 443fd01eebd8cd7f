"""Test the build with a fake Go: progress, errors and remains."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.localcluster import build, compiler, toolchain
from tests.localcluster.errors import LocalClusterError
from tests.localcluster.progress import Progress
from tests.support.kube import until

# It lists three packages, and compiles two of them: the third is in its cache.
GO = """#!/bin/sh
case "$1" in
version) echo 'go version go1.26.0 linux/amd64' ;;
env) printf '/\\n/\\n' ;;
list) echo 'go: downloading k8s.io/kubernetes v1.36.3' >&2; printf 'fmt\\ncached\\ncomponents\\n' ;;
build) printf 'fmt\\ncomponents\\n' >&2; while [ "$1" != -o ]; do shift; done; %s ;;
esac
"""


def a_go(folder: Path, ending: str) -> Path:
    """Make a Go whose build ends with the shell command `ending`; "$2" is the file it is to write."""
    folder.mkdir()
    command = folder / "go"
    command.write_text(GO % ending)
    command.chmod(0o755)
    return command


def an_environment(tmp_path: Path, ending: str) -> dict[str, str]:
    """Return an environment with such a Go, and with a cache of its own."""
    go = a_go(tmp_path / "bin", ending)
    return {"PATH": f"{go.parent}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def is_running(pid: str) -> bool:
    """Return True if a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_build_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time finds the first one's binary; packages that Go has in its cache do not count as compiled."""
    environment = an_environment(tmp_path, 'echo compiled >> "$2"')
    assert build.build(environment) == build.build(environment)
    assert build.build(environment).read_text() == "compiled\n"
    output = capsys.readouterr().err
    assert "with Go 1.26.0" in output
    assert "built: 2 packages compiled (0 s)" in output


def test_failed_build_has_compiler_message(tmp_path: Path) -> None:
    """Not the names of the packages, but the error among them."""
    environment = an_environment(tmp_path, 'touch "$2"; echo "./main.go:1:1: no such thing" >&2; exit 1')
    with pytest.raises(LocalClusterError, match=r"go build failed in .*Last lines:\n  ./main.go:1:1: no") as e:
        build.build(environment)
    assert "fmt" not in str(e.value)
    assert [path.name for path in (tmp_path / "cache" / "registry-mirror").iterdir()] == ["build.lock"]


def test_unreachable_modules_are_reported(tmp_path: Path) -> None:
    """The message of `go list` is in the error."""
    go = a_go(tmp_path / "bin", "true")
    go.write_text("#!/bin/sh\necho 'dial tcp: no route to host' >&2; exit 1\n")
    with pytest.raises(LocalClusterError, match=r"go list failed in .*\n  dial tcp: no route to host"):
        compiler.compile_module(tmp_path, go, [], dict(os.environ), Progress(io.StringIO()))


def test_an_interrupted_build_takes_its_compilers_along(tmp_path: Path) -> None:
    """Ctrl-C ends Go and what it has started, and leaves nothing that looks like a build."""
    environment = an_environment(tmp_path, 'touch "$2"; sleep 61 & echo $! > "$XDG_CACHE_HOME/compiler"; wait')
    with subprocess.Popen(
        [sys.executable, "-m", "tests.localcluster", "build"],
        cwd=toolchain.COMPONENTS.parents[2],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        marker = tmp_path / "cache" / "compiler"
        until(lambda: marker.exists() and marker.read_text(), why="a compiler runs")
        program.send_signal(signal.SIGINT)
        assert "Interrupted." in program.communicate()[1]
    assert program.returncode == 130
    until(lambda: not is_running(marker.read_text().strip()), why="the compiler ends")
    assert [path.name for path in (tmp_path / "cache" / "registry-mirror").iterdir()] == ["build.lock"]


def test_low_disk_space_is_reported_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence for each folder that is too small."""
    monkeypatch.setattr(compiler, "_free_gigabytes", lambda _: 1.25)
    compiler.warn_about_space(a_go(tmp_path / "bin", "true"))
    assert "Only 1.2 GB are free under /" in capsys.readouterr().err
