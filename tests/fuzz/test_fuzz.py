"""Each fuzz target for some seconds, as `make fuzz` runs it for longer; and on its seeds, wherever Python runs."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.campaign import HERE, TARGETS, fuzz

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 8  # enough for thousands of runs each; `make fuzz` is for what takes longer to find
FUZZER = pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris has no wheel for this machine")


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_takes_its_seeds(target: str) -> None:
    one = importlib.import_module(f"tests.fuzz.{target}").one
    seeds = sorted((HERE / "seeds" / target).iterdir())
    assert seeds
    for seed in seeds:
        one(seed.read_bytes())


@FUZZER
@pytest.mark.parametrize("target", TARGETS)
def test_some_seconds_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    outcome = fuzz(target, SECONDS, tmp_path)
    assert not outcome.finding, outcome.finding
    assert outcome.executions > 0
    assert outcome.covered > 0, "our own code is instrumented"


@FUZZER
def test_a_planted_mistake_is_found_and_told(tmp_path: Path) -> None:
    outcome = fuzz("planted", 60, tmp_path)  # it ends with the finding, a letter away from its seed
    assert "assert not hosts.parse(data).blocks" in outcome.finding
    assert list(tmp_path.glob("planted-crash-*"))
