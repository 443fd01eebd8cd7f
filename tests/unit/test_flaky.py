"""The report of flaky tests, by real runs of pytest with and without workers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ATTEMPT = """
import pathlib, pytest
COUNT = pathlib.Path(__file__).with_suffix(".count")
def attempt():
    COUNT.write_text(COUNT.read_text() + "x" if COUNT.exists() else "x")
    return len(COUNT.read_text())
"""
FLAKY = "def test_it():\n    assert attempt() > 1, 'the first attempt'\n"
LINE = r"FLAKY tests/\w+/test_it\.py::test_it: failed after \d+\.\d s, passed in \d+\.\d s when run again"
BROKEN_TEARDOWN = """
@pytest.fixture
def broken():
    yield
    assert attempt() == 0
def test_it(broken):
    assert COUNT.exists()
"""
BY_FILE = ("--numprocesses=2", "--dist=loadfile")
BY_RUNTIME = ("--numprocesses=2", "--dist=loadgroup")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Provide a folder whose tests run with the project's plugins."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(suite: pytest.Pytester, *arguments: str, folder: str = "cluster", **files: str) -> pytest.RunResult:
    """Write test files below tests/FOLDER and run them."""
    target = suite.mkdir("tests") / folder
    target.mkdir()
    for name, text in files.items():
        (target / f"{name}.py").write_text(ATTEMPT + text)
    options = ("-p", "tests.conftest", "-p", "no:cacheprovider", *arguments)
    # With a timer or workers not in this process, which has a timer of its own.
    return suite.runpytest_subprocess(*options) if arguments else suite.runpytest_inprocess(*options)


@pytest.mark.parametrize(
    ("folder", "workers"),
    [("cluster", ()), ("smoke", ()), ("node", ()), ("cluster", BY_FILE), ("e2e", BY_RUNTIME), ("chaos", ())],
)
def test_pass_at_second_attempt_is_flaky(suite: pytest.Pytester, folder: str, workers: tuple[str, ...]) -> None:
    """The list has the seconds and the first failure's message."""
    result = run(suite, *workers, folder=folder, test_it=FLAKY)
    output = result.stdout.str()
    assert result.ret == 0
    assert re.search(rf"=+ FLAKY =+\n{LINE}\n  call: AssertionError: the first attempt", output), output


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        ("def test_it():\n    attempt()\n", 0),
        ("def test_it():\n    assert attempt() > 2\n", 1),
        ("def test_it():\n    assert attempt() > 1, 'first'\n    pytest.fail('second')\n", 1),
        ("def test_it():\n    if attempt() > 1:\n        pytest.skip('not a pass')\n    assert False\n", 0),
        ("def test_it():\n    pytest.xfail('known')\n", 0),
        (BROKEN_TEARDOWN, 1),
    ],
    ids=["passed", "failed-twice", "failed-again", "skipped-then", "expected", "teardown-fails"],
)
def test_other_outcomes_are_not_flaky(suite: pytest.Pytester, text: str, failures: int) -> None:
    """A test that fails twice fails the run."""
    result = run(suite, test_it=text)
    assert (result.ret == 0) == (failures == 0), result.stdout.str()
    assert "FLAKY" not in result.stdout.str()


def test_first_failure_is_printed_too(suite: pytest.Pytester) -> None:
    """Without it pytest prints the second failure of a test only, which may follow from the first."""
    output = run(
        suite, test_it="def test_it():\n    assert attempt() > 1, 'first'\n    pytest.fail('second')\n"
    ).stdout.str()
    assert re.search(r"=+ FAILED TWICE =+\n.*the first failure was\n  call: AssertionError: first", output), output


def test_unit_test_runs_once(suite: pytest.Pytester) -> None:
    """It fails although a second attempt would pass."""
    result = run(suite, folder="unit", test_it=FLAKY)
    result.assert_outcomes(failed=1)
    assert "FLAKY" not in result.stdout.str()


def test_failed_setup_is_repeated(suite: pytest.Pytester) -> None:
    """A module's fixture that failed is made again; one that did not fail is kept."""
    fixtures = (
        "import pytest\n@pytest.fixture(scope='session')\ndef kept():\n    print('KEPT MADE')\n    yield 1\n"
        "    print('KEPT ENDED')\n"
        "@pytest.fixture(scope='module')\ndef made(kept):\n    assert attempt() > 1, 'no cluster'\n    yield 2\n"
        "    print('MADE ENDED')\n"
    )
    tests = "def test_it(made, kept):\n    assert made == 2\ndef test_then(made):\n    pass\n"
    result = run(suite, "--capture=no", test_it=fixtures + tests)
    result.assert_outcomes(passed=2)
    output = result.stdout.str()
    assert re.search(rf"{LINE}\n  setup: AssertionError: no cluster", output), output
    assert [output.count(each) for each in ("KEPT MADE", "KEPT ENDED", "MADE ENDED")] == [1, 1, 1]


def test_second_attempt_has_all_time(suite: pytest.Pytester) -> None:
    """The timer starts again: a hang in the second attempt fails, a hang in the first alone is flaky."""
    result = run(
        suite,
        "--timeout=2",
        test_hang="import time\ndef test_it():\n    attempt()\n    time.sleep(60)\n",
        test_it="import time\ndef test_it():\n    time.sleep(1.2 if attempt() > 1 else 60)\n",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert re.search(LINE, result.stdout.str())
    assert "FLAKY tests/cluster/test_hang.py" not in result.stdout.str()


def test_second_attempt_runs_alone(suite: pytest.Pytester) -> None:
    """No test of the other worker begins or goes on beside it."""
    note = (
        "import time\nTIMES = pathlib.Path(__file__).parent / 'times'\n"
        "def note(name, seconds):\n    began = time.monotonic()\n    time.sleep(seconds)\n"
        "    with TIMES.open('a') as file:\n        file.write(f'{name} {began} {time.monotonic()}\\n')\n"
    )
    others = "@pytest.mark.parametrize('number', range(10))\ndef test_it(number):\n    note('other', 0.2)\n"
    flaky = "def test_it():\n    time.sleep(0.3)\n    assert attempt() > 1\n    note('again', 0.5)\n"
    result = run(suite, *BY_FILE, test_it=note + flaky, test_other=note + others)
    result.assert_outcomes(passed=11)
    rows = [line.split() for line in (suite.path / "tests/cluster/times").read_text().splitlines()]
    ((_, began, ended),) = [row for row in rows if row[0] == "again"]
    beside = [row for row in rows if row[0] == "other" and row[1] < ended and row[2] > began]
    assert beside == []
    assert any(row[1] > ended for row in rows), "the other worker had not ended before"
