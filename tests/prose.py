"""Measure the prose of the repository against the rules of docs/development.md: `python -m tests.prose [PATH ...]`.

Print one line per finding, as `file:line: reason`. Exit with 1 if a limit is exceeded.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = ("common", "webhook", "controller", "hostess", "cache", "cli", "deploy", "benchmarks", "tests")
DOCUMENTS = ("*.md", "docs/**/*.md")
# Files whose comments start with a number sign.
CONFIGURATION = ("deploy/**/*.yaml", "cli/*.yaml", "Dockerfile.*", "Makefile", "pyproject.toml")
# Generated from messages of the code; the code is measured.
GENERATED = ("docs/conditions.md", "docs/configuration.md", "docs/values.md")

CLAUSES_PER_SENTENCE = 0.8
WORDS_PER_SENTENCE = 25  # in documents; the rule for writers is 20
WORDS_PER_TEST_NAME = 8  # the rule for writers is 6
WORDS_OF_A_MESSAGE = 3  # a shorter text is a name or a key
FIRST_WORDS = re.compile(r"^(What|Who|Whom|Whose|Whether|Which|How|Where|When|Of|That|Why)\b")
# Words that open a subordinate clause.
CLAUSE = re.compile(
    r"\b(which|who|whom|whose|what|whatever|where|wherever|when|whenever|whether|because|since|although|though|while"
    r"|until|unless|if|that|as|than|so that|lest|why|how|before|after|once)\b",
    re.IGNORECASE,
)
PERSONS = re.compile(
    r"\b(some(body|one)s?|any(body|one)s?|every(body|one)s?|nobodys?|no one|whoever|whomever|others'|a person|person's)"
    r"(?!\w)",
    re.IGNORECASE,
)
IDIOMS = re.compile(
    r"\b(anew|for ever|nor|all the same|should (it|they|there)|be it|be they|has yet to|have yet to|in the midst"
    r"|on (its|their) way out|(is|are|was|were) to (be|have|go|do|say|take|keep|make|run|stay|come)|told|tells|hears"
    r"|heard of|knows? nothing|speaks of|says so|in vain|of (ours|theirs)|puts? right|lest|hence|thus|whence|thereof"
    r"|therein|upon|ere)\b",
    re.IGNORECASE,
)
# Words of identifiers, besides those above, for which docs/development.md has a common word.
PRIVATE_WORDS = re.compile(r"(?i)\b(deeds?|hands?|lands?|live|looks?|places?|quarrels?|raw|tell|theirs|whose)\b")
# Kind of text, pattern, and advice.
RULES = (
    ("docstring", FIRST_WORDS, "start the docstring with a verb"),
    ("", PERSONS, "name the user, the administrator or the program"),
    ("", IDIOMS, "write it in plain words"),
    ("identifier", PRIVATE_WORDS, "use the common word"),
)
HASH_COMMENT = re.compile(r"(?:^|\s)##?\s+(.*)")
CODE = re.compile(r"``.*?``|`[^`]*`|https?://\S+|\{[^}]*\}", re.DOTALL)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n\s*[-*|]\s")
DIRECTIVES = re.compile(r"#\s*(noqa|type:|pragma|!|fmt:)")


@dataclass(frozen=True, slots=True)
class Text:
    """A docstring, a comment, a message, a paragraph or an identifier, with its file and line."""

    path: Path
    line: int
    content: str
    kind: str


def main(arguments: list[str]) -> int:
    """Print what exceeds a limit below the given paths and return the exit status."""
    paths = [Path(each).resolve() for each in arguments] or [ROOT]
    findings = list(findings_of(list(texts_of(paths))))
    for finding in findings:
        print(finding)  # noqa: T201
    return 1 if findings else 0


def texts_of(paths: Iterable[Path]) -> Iterator[Text]:
    """Yield the texts of all files below the paths."""
    for path in paths:
        for source in sorted(sources_below(path)):
            if source.suffix == ".py":
                yield from docstrings(source)
                yield from comments(source)
                yield from identifiers(source)
                yield from messages(source)
            elif source.suffix == ".md":
                yield from paragraphs(source)
            else:
                yield from hash_comments(source)


def sources_below(path: Path) -> Iterator[Path]:
    """Yield the files to measure."""
    if path.is_file():
        yield path
    elif path == ROOT:
        for folder in FOLDERS:
            yield from (ROOT / folder).rglob("*.py")
        for pattern in (*DOCUMENTS, *CONFIGURATION):
            yield from (each for each in ROOT.glob(pattern) if str(each.relative_to(ROOT)) not in GENERATED)
    else:
        yield from (each for suffix in ("py", "yaml") for each in path.rglob(f"*.{suffix}"))


def docstrings(path: Path) -> Iterator[Text]:
    """Yield all docstrings of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            content = ast.get_docstring(node)
            if content:
                yield Text(path, node.body[0].lineno, content, f"docstring of {type(node).__name__}")


def identifiers(path: Path) -> Iterator[Text]:
    """Yield as words the names of test functions, and all names that a module of the programs defines."""
    is_measured = relative(path).parts[0] not in ("tests", "benchmarks") or "localcluster" in relative(path).parts
    for node in ast.walk(ast.parse(path.read_text())):
        line, name = getattr(node, "lineno", 0), getattr(node, "name", None) or getattr(node, "arg", None)
        if isinstance(getattr(node, "ctx", None), ast.Store):
            name = getattr(node, "id", None) or getattr(node, "attr", None)
        if isinstance(name, str) and name.startswith("test_"):
            yield Text(path, line, name.removeprefix("test_").replace("_", " "), "test name")
        elif isinstance(name, str) and is_measured:
            yield Text(path, line, name.strip("_").replace("_", " "), "identifier")


def messages(path: Path) -> Iterator[Text]:
    """Yield the single-line texts of a module of the programs, which end in messages."""
    if relative(path).parts[0] == "tests":
        return
    tree = ast.parse(path.read_text())
    docstring_nodes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstring_nodes:
            continue
        if len(node.value.split()) >= WORDS_OF_A_MESSAGE and "\n" not in node.value:
            yield Text(path, node.lineno, node.value, "message")


def comments(path: Path) -> Iterator[Text]:
    """Yield all comments of a module; consecutive comment lines are one text."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    found = (each for each in tokens if each.type == tokenize.COMMENT and not DIRECTIVES.match(each.string))
    yield from joined(path, ((each.start[0], each.string.lstrip("# ")) for each in found))


def hash_comments(path: Path) -> Iterator[Text]:
    """Yield all comments of a manifest, a Dockerfile or a Makefile."""
    found = ((number, HASH_COMMENT.search(line)) for number, line in enumerate(path.read_text().splitlines(), 1))
    yield from joined(path, ((number, match[1]) for number, match in found if match))


def joined(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[Text]:
    """Yield comments; consecutive lines are one text."""
    block: list[str] = []
    start = end = 0
    for number, words in lines:
        if block and number != end + 1:
            yield Text(path, start, " ".join(block), "comment")
            block = []
        start, end = (start if block else number), number
        block.append(words)
    if block:
        yield Text(path, start, " ".join(block), "comment")


def paragraphs(path: Path) -> Iterator[Text]:
    """Yield the prose paragraphs of a Markdown document, without code blocks, tables and headings."""
    fenced, block, start = False, list[str](), 0
    for number, line in enumerate([*path.read_text().splitlines(), ""], 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        prose = not fenced and line.strip() and not re.match(r"\s*([|#`<!]|~~~|\[.*\]:|---)", line)
        item = re.match(r"\s*([-*]|\d+\.)\s", line)
        if block and (not prose or item):
            yield Text(path, start, " ".join(block), "paragraph")
            block = []
        if prose:
            start = start if block else number
            block.append(re.sub(r"^\s*([-*]|\d+\.)\s", "", line).strip())


def findings_of(texts: list[Text]) -> Iterator[str]:
    """Yield a line for each text, and each folder, that breaks a rule."""
    for text in texts:
        yield from findings_in(text)
    for folder, members in by_folder(texts).items():
        sentences = [sentence for text in members for sentence in sentences_of(text.content)]
        clauses = sum(len(CLAUSE.findall(sentence)) for sentence in sentences)
        if clauses > CLAUSES_PER_SENTENCE * len(sentences):
            rate = clauses / len(sentences)
            yield f"{folder}: {rate:.2f} clauses per docstring sentence; at most {CLAUSES_PER_SENTENCE}. The worst:"
            worst = sorted(members, key=lambda each: -len(CLAUSE.findall(prose_of(each.content))))[:5]
            yield from (f"  {place(each)}: {len(CLAUSE.findall(prose_of(each.content)))} clauses" for each in worst)


def findings_in(text: Text) -> Iterator[str]:
    """Yield the rules that one text breaks."""
    prose = prose_of(text.content)
    for kind, pattern, advice in RULES:
        if text.kind.startswith(kind):
            yield from (f"{place(text)}: {match[0]!r}; {advice}" for match in pattern.finditer(prose))
    if text.kind == "test name" and (count := len(text.content.split())) > WORDS_PER_TEST_NAME:
        yield f"{place(text)}: the name of the test has {count} words; at most {WORDS_PER_TEST_NAME}"
    if text.kind == "paragraph":
        for sentence in sentences_of(text.content):
            if (count := len(sentence.split())) > WORDS_PER_SENTENCE:
                yield f"{place(text)}: a sentence of {count} words: {sentence[:60]}..."


def by_folder(texts: Iterable[Text]) -> dict[str, list[Text]]:
    """Group docstrings by the folder of their file."""
    groups: dict[str, list[Text]] = {}
    for text in texts:
        if text.kind.startswith("docstring"):
            groups.setdefault(str(relative(text.path).parent), []).append(text)
    return groups


def sentences_of(content: str) -> list[str]:
    """Split prose into sentences."""
    return [each for each in SENTENCE_END.split(prose_of(content)) if each and re.search(r"\w", each)]


def prose_of(content: str) -> str:
    """Replace code and addresses by one word."""
    return CODE.sub("x", content)


def place(text: Text) -> str:
    """Return `file:line`."""
    return f"{relative(text.path)}:{text.line}"


def relative(path: Path) -> Path:
    """Return the path inside the repository."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
