"""Render the manifests of deploy/ and its overlays from the chart: `make manifests`.

    python -m deploy.manifests HELM

A template `deploy/chart/templates/NAME.yaml` becomes `deploy/NAME.yaml`. A template in a folder of the name of an
overlay becomes a file of that overlay. `make crd` writes the CRD.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "chart"
TEMPLATES: Final = CHART / "templates"
RELEASE: Final = "registry-mirror"
NOTE: Final = "# Rendered from deploy/chart/{source} by `make manifests`. Do not edit.\n"
# Helm writes these lines before each document.
SOURCE: Final = rf"^---\n# Source: {RELEASE}/templates/"
NOT_RENDERED: Final = ("crd.yaml",)


def rendered(helm: Path) -> dict[Path, str]:
    """Return each manifest below deploy/ with its content."""
    base = [each for each in sources() if not each.parent.name]
    overlays = [each for each in sources() if each.parent.name]
    documents = {**_render(helm, base, "base.yaml"), **_render(helm, overlays, "overlays.yaml")}
    return {
        HERE / target_of(source): NOTE.format(source=f"templates/{source}") + "---\n".join(found)
        for source, found in documents.items()
    }


def sources() -> Iterator[Path]:
    """Yield the templates, relative to their folder, that become manifests."""
    yield from (each.relative_to(TEMPLATES) for each in TEMPLATES.glob("*.yaml") if each.name not in NOT_RENDERED)
    overlays = sorted(each.name for each in (HERE / "overlays").iterdir() if (TEMPLATES / each.name).is_dir())
    yield from (each.relative_to(TEMPLATES) for name in overlays for each in (TEMPLATES / name).glob("*.yaml"))


def target_of(source: Path) -> Path:
    """Return the manifest of a template, relative to deploy/."""
    return Path("overlays", source) if source.parent.name else source


def _render(helm: Path, templates: Sequence[Path], values: str) -> dict[Path, list[str]]:
    """Return the rendered documents of each template, without helm's own lines."""
    command = [str(helm), "template", RELEASE, str(CHART), f"--namespace={RELEASE}", f"--values={CHART}/files/{values}"]
    shown = [f"--show-only=templates/{each}" for each in templates]
    done = subprocess.run([*command, *shown], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"helm cannot render the chart: {done.stderr.strip()}")
    found: dict[Path, list[str]] = {each: [] for each in templates}
    for part in re.split(SOURCE, done.stdout, flags=re.MULTILINE)[1:]:
        name, _, document = part.partition("\n")
        # A condition leaves empty lines.
        lines = [each.rstrip() for each in document.splitlines() if each.strip()]
        found[Path(name)].append("\n".join(lines) + "\n")
    return found


def main(helm: str) -> None:
    """Write all manifests."""
    for path, content in rendered(Path(helm)).items():
        path.write_text(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
