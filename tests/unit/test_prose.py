"""Check the measure of prose: each rule reports bad text with its file and line, and accepts good text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import prose

if TYPE_CHECKING:
    from pathlib import Path

# Name of the file, text, and the finding; None for a text without findings.
CASES: dict[str, tuple[str, str, str | None]] = {
    "verb first": ("a.py", '"""Return the name."""', None),
    "question word first": ("a.py", '"""Whether it runs."""', "a.py:1: 'Whether'; start the docstring with a verb"),
    "docstring of a function": ("a.py", 'def f():\n    """What it is."""', "a.py:2: 'What'"),
    "noun of the system": ("a.py", "x = 1\n# The user waits.", None),
    "indefinite person": ("a.py", "x = 1\n# Nobody waits.", "a.py:2: 'Nobody'"),
    "trailing comment": ("a.py", "x = 1  # whoever waits", "a.py:1: 'whoever'"),
    "second line of a comment": ("a.py", "# A user\n# is told of it.", "a.py:1: 'told'"),
    "linter directive": ("a.py", "x = 1  # noqa: E501 (nobody reads it)", None),
    "code in a comment": ("a.py", "# Set `nobody` as user.", None),
    "message": ("a.py", 'x = f"{y} is written by somebody"', "a.py:1: 'somebody'"),
    "key": ("a.py", 'x = ["nobody"]', None),
    "script": ("a.py", 'x = """run it\\nanew"""', None),
    "idiom in a docstring": ("a.py", '"""Start anew."""', "a.py:1: 'anew'"),
    "long test name": ("a.py", "def test_a_b_c_d_e_f_g_h_i(): ...", "a.py:1: the name of the test has 9 words"),
    "short test name": ("a.py", "def test_a_b_c_d_e_f_g_h(): ...", None),
    "private identifier": ("a.py", "def f(told_by): ...", "a.py:1: 'told'"),
    "private attribute": ("a.py", "a._RAW_ = 1", "a.py:1: 'RAW'; use the common word"),
    "foreign attribute": ("a.py", "x = a.raw", None),
    "word in another": ("a.py", "displaces = 1", None),
    "manifest": ("a.yaml", "kind: Pod\n# Nobody waits.", "a.yaml:2: 'Nobody'"),
    "value in a manifest": ("a.yaml", "message: nobody # The user waits.", None),
    "Dockerfile": ("Dockerfile.a", "FROM a\n# It is to be small.\n", "Dockerfile.a:2: 'is to be'"),
    "help in a Makefile": ("Makefile", "all: a  ## builds anew", "Makefile:1: 'anew'"),
    "long sentence": ("a.md", "# A\n\n" + "word " * 26, "a.md:3: a sentence of 26 words"),
    "short sentences": ("a.md", "# A\n\n" + ("word " * 20 + ". ") * 2, None),
    "items of a list": ("a.md", ("- " + "word " * 20 + "\n") * 2, None),
    "code block": ("a.md", "```\nnobody " + "word " * 26 + "\n```", None),
    "table": ("a.md", "| nobody |", None),
}


@pytest.mark.parametrize("case", CASES)
def test_rule_reports_file_and_line(tmp_path: Path, case: str) -> None:
    name, content, finding = CASES[case]
    path = tmp_path / name
    path.write_text(content)
    found = [each for text in prose.texts_of([path]) for each in prose.findings_in(text)]
    assert len(found) == (finding is not None)
    assert all(finding and each.startswith(finding) for each in found)


@pytest.mark.parametrize(
    ("docstring", "is_reported"),
    [
        ("Return the name. Raise KeyError if it is missing.", False),
        ("Return what was found when it was read, which is old.", True),
    ],
)
def test_clauses_are_limited_per_folder(tmp_path: Path, docstring: str, is_reported: bool) -> None:  # noqa: FBT001
    path = tmp_path / "a.py"
    path.write_text(f'"""{docstring}"""')
    findings = list(prose.findings_of(list(prose.texts_of([path]))))
    assert bool(findings) is is_reported
    assert not is_reported or "a.py:1: 3 clauses" in findings[-1]


def test_exit_status_is_that_of_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.py"
    path.write_text('"""Return the name."""')
    assert prose.main([str(path)]) == 0
    path.write_text('"""Who it is."""')
    assert prose.main([str(path)]) == 1
    assert capsys.readouterr().out.startswith("a.py:1: ")


def test_whole_repository_is_measured() -> None:
    found = {str(path.relative_to(prose.ROOT)) for path in prose.sources_below(prose.ROOT)}
    measured = {"common/model.py", "tests/prose.py", "deploy/controller.yaml", "Dockerfile.webhook", "Makefile"}
    assert measured | {"README.md", "pyproject.toml"} <= found
    assert not found & set(prose.GENERATED)
