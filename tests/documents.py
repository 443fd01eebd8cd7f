"""List the commands of the documents beside the tests that run them: `python -m tests.documents [DOCUMENT ...]`.

A command stands in a code block without a language. `tests/e2e/test_trial.py` runs the blocks of SCENES on a node.
docs/development.md has a table of the commands that no test runs, with the reasons.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
# Each command of these is run by a test, or is in the table.
CHECKED = ("README.md", *(f"docs/{name}.md" for name in ("install", "usage", "plugin", "cache", "troubleshooting")))
NOT_RUN = ("docs/development.md", "Commands that no test runs")  # document and heading of the table
FENCE, HEADING = "```", re.compile(r"#+ (.+)")
ROW = re.compile(r"\| (?P<documents>[^|]+?) \| `(?P<start>[^`]+)` \| (?P<reason>.+) \|")


@dataclass(frozen=True)
class Command:
    """A command. `block` is the number of its block in the section, from 0."""

    document: str
    section: str
    block: int
    line: int
    text: str


@dataclass(frozen=True)
class Exempt:
    """A row of the table: `start` is the begin of a command, and `reason` says why no test runs it."""

    documents: frozenset[str]
    start: str
    reason: str

    def covers(self, command: Command) -> bool:
        """Return True if the row is about a command."""
        return command.document in self.documents and command.text.startswith(self.start)


@dataclass(frozen=True)
class Scene:
    """The commands of a section, or those of some of its blocks; `before` is run before them."""

    document: str
    section: str
    blocks: tuple[int, ...] = ()
    before: str = ""

    def has(self, command: Command) -> bool:
        """Return True if a command belongs to the scene."""
        here = (command.document, command.section) == (self.document, self.section)
        return here and (not self.blocks or command.block in self.blocks)

    def commands(self) -> list[str]:
        """Return the commands that a test runs."""
        found = (each for each in commands(self.document) if self.has(each))
        return [each.text for each in found if not any(row.covers(each) for row in exempt())]


MIRROR = "kubectl apply -f deploy/examples/docker.yaml; kubectl wait --for=condition=Ready rm/docker --timeout=3m"
# helm uninstall keeps the CA of the webhook. After the next installation, pods are ready before the controller has
# published it again.
ANSWERS = "until kubectl apply --dry-run=server -f deploy/examples/docker.yaml; do sleep 1; done"
PULLED = (
    "kubectl run web --image=docker.io/library/nginx:1.27; kubectl wait --for=condition=Ready pod/web --timeout=2m;"
    "kubectl delete pod web --now"
)
TRY_IT = Scene("README.md", "Try it")  # at the begin and the end of the test
BY_HAND = Scene("docs/install.md", "Clean a node by hand")  # on the node
# In this order, beginning and ending without the system.
SCENES = (
    Scene("README.md", "Install"),
    Scene("README.md", "The first mirror", before=ANSWERS),
    Scene("README.md", "See that it works"),
    Scene("docs/usage.md", "Create a mirror", (0, 1)),
    Scene("docs/usage.md", "See that pulls use the mirror"),
    Scene("docs/plugin.md", "Install the plugin"),
    Scene("docs/plugin.md", "Find out what is wrong"),
    Scene("docs/plugin.md", "What the caches have stored", before=PULLED),
    Scene("docs/cache.md", "Ports and probes"),
    Scene("docs/troubleshooting.md", "Troubleshooting"),
    Scene("docs/usage.md", "Credentials"),
    Scene("docs/usage.md", "Create a mirror", (2,)),
    Scene("README.md", "Remove"),
    Scene("docs/install.md", "Install with Helm"),
    Scene("docs/install.md", "Remove", (0,)),
    Scene("docs/install.md", "Name the images", (0, 1)),
    Scene("docs/install.md", "Overlays"),
    Scene("docs/install.md", "Apply"),
    Scene("docs/install.md", "Name the images", (2,)),
    Scene("docs/install.md", "Upgrade"),
    Scene("docs/install.md", "Remove", (1,), before=MIRROR),
)
ALL = (TRY_IT, *SCENES, BY_HAND)


@cache
def commands(document: str) -> list[Command]:
    """Return all commands of a document in order."""
    return list(_commands(document, (ROOT / document).read_text().splitlines()))


def _commands(document: str, lines: list[str]) -> Iterator[Command]:
    section, block, language, pending = "", -1, None, list[str]()
    for number, line in enumerate(lines, 1):
        if line.startswith(FENCE):
            language = line.removeprefix(FENCE) if language is None else None
            block += language == ""
        elif language is None and (heading := HEADING.fullmatch(line)):
            section, block = heading[1], -1
        elif language == "":
            pending.append(line)
            if is_complete("\n".join(pending)):
                yield Command(document, section, block, number - len(pending) + 1, "\n".join(pending))
                pending = []


def is_complete(text: str) -> bool:
    """Return True if a shell would run the text without reading a further line."""
    checked = subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False)
    # Without the end of a here-document, bash warns.
    return checked.returncode == 0 and not checked.stderr and not text.endswith("\\")


@cache
def exempt() -> list[Exempt]:
    """Return the rows of the table."""
    document, heading = NOT_RUN
    section = (ROOT / document).read_text().partition(f" {heading}\n")[2].partition("\n#")[0]
    return [
        Exempt(frozenset(row["documents"].split(", ")), row["start"], row["reason"]) for row in ROW.finditer(section)
    ]


def coverage(command: Command) -> str:
    """Return the test that runs a command, or the reason why none does; empty if it is forgotten."""
    for row in exempt():
        if row.covers(command):
            return f"not run: {row.reason}"
    return "tests/e2e/test_trial.py" if any(each.has(command) for each in ALL) else ""


def main(documents: list[str]) -> int:
    """Print a line for each command; return 1 if a test has to run a command and does not."""
    found = [each for document in documents or DOCUMENTS for each in commands(document)]
    for each in found:
        first = each.text.partition("\n")[0]
        print(f"{each.document}:{each.line}: {first}\n    {coverage(each) or 'no test'}")
    return int(any(each.document in CHECKED and not coverage(each) for each in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
