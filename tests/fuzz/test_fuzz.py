"""Each fuzz target on its seeds, and for some seconds with the fuzzer. `make fuzz` runs longer."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.campaign import HERE, TARGETS, fuzz

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 8  # enough for thousands of runs
FUZZER = pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris has no wheel for this machine")


@pytest.mark.parametrize("target", TARGETS)
def test_target_passes_its_seeds(target: str) -> None:
    one = importlib.import_module(f"tests.fuzz.{target}").one
    seeds = sorted((HERE / "seeds" / target).iterdir())
    assert seeds
    for seed in seeds:
        one(seed.read_bytes())


@FUZZER
@pytest.mark.slow  # each run has other inputs, so that it may find a mistake of any age
@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    outcome = fuzz(target, SECONDS, tmp_path)
    assert not outcome.finding, outcome.finding
    assert outcome.executions > 0
    assert outcome.covered > 0, "our own code is instrumented"


@FUZZER
@pytest.mark.slow
def test_planted_mistake_is_found(tmp_path: Path) -> None:
    outcome = fuzz("planted", 60, tmp_path)  # ends with the finding, one letter from its seed
    assert "assert not hosts_block.parse(data).blocks" in outcome.finding
    assert list(tmp_path.glob("planted-crash-*"))
