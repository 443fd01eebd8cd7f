from __future__ import annotations

from pathlib import Path

import pytest

from cli import arguments, complete
from tests.support.plugin import REFUSED_FLAGS

DOCUMENT = Path(__file__).parents[3] / "docs" / "plugin.md"


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("--context prod status docker", ["--context=prod"]),
        ("status docker --context=prod", ["--context=prod"]),
        ("status -s https://h:1 --token=t docker", ["--server=https://h:1", "--token=t"]),
        ("--insecure-skip-tls-verify status docker", ["--insecure-skip-tls-verify=true"]),
        ("--insecure-skip-tls-verify=true status docker", ["--insecure-skip-tls-verify=true"]),
        ("status --disable-compression=false docker", ["--disable-compression=false"]),
        ("status docker --warnings-as-errors=1", ["--warnings-as-errors=1"]),
        ("status --as alice --as-group=a --as-group b docker", ["--as=alice", "--as-group=a", "--as-group=b"]),
        ("status docker -v=6", ["--v=6"]),
    ],
)
def test_flags_of_kubectl_are_passed(given: str, passed: list[str]) -> None:
    options, flags = arguments.split(given.split())
    assert flags == passed
    assert (options.command, options.name) == ("status", "docker")


@pytest.mark.parametrize("flag", sorted(REFUSED_FLAGS))
def test_refused_flag_is_documented(flag: str) -> None:
    with pytest.raises(SystemExit):
        arguments.split([f"{flag}=1", "status"])
    assert f"`{flag}`" in DOCUMENT.read_text()


def test_namespace_is_not_passed() -> None:
    options, flags = arguments.split(["nodes", "docker", "-n", "mirrors"])
    assert (options.namespace, flags) == ("mirrors", [])


@pytest.mark.parametrize("given", ["", "nonsense", "nodes", "status -o xml", "status --nonsense", "status --cont x"])
def test_wrong_command_line_exits_with_two(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        arguments.split(given.split())
    assert stopped.value.code == 2
    assert "usage: kubectl registry-mirror" in capsys.readouterr().err


def test_every_command_has_a_module() -> None:
    for command in arguments.COMMANDS:
        assert __import__(f"cli.commands.{command}", fromlist=["run"]).run


def test_completion_offers_commands_and_formats() -> None:
    assert {each.partition("\t")[0] for each in complete.candidates([""])} == set(arguments.COMMANDS)
    assert complete.candidates(["--context", "prod", "status", "-o", ""]) == ["wide", "json", "yaml", "name"]
    assert complete.candidates(["--insecure-skip-tls-verify", "version", ""]) == []
    assert "--watch" in complete.candidates(["status", "--"])
    assert complete.candidates(["version", "x", ""]) == []
