"""Render the manifests of deploy/ and its overlays from the chart: `make manifests`.

    python -m deploy.manifests HELM

A template `deploy/chart/templates/NAME.yaml` becomes `deploy/NAME.yaml`. A template in a folder of the name of an
overlay becomes a file of that overlay. `make crd` writes the CRD.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "chart"
TEMPLATES: Final = CHART / "templates"
RELEASE: Final = "registry-mirror"
NOTE: Final = "# Rendered from deploy/chart/{source} by `make manifests`. Do not edit.\n"
NOT_RENDERED: Final = ("crd.yaml",)


def rendered(helm: Path) -> dict[Path, str]:
    """Return each manifest below deploy/ with its content."""
    found = {}
    for source in sources():
        values = CHART / "files" / ("overlays.yaml" if source.parent.name else "base.yaml")
        found[HERE / target_of(source)] = NOTE.format(source=f"templates/{source}") + _render(helm, source, values)
    return found


def sources() -> Iterator[Path]:
    """Yield the templates, relative to their folder, that become manifests."""
    yield from (each.relative_to(TEMPLATES) for each in TEMPLATES.glob("*.yaml") if each.name not in NOT_RENDERED)
    overlays = sorted(each.name for each in (HERE / "overlays").iterdir() if (TEMPLATES / each.name).is_dir())
    yield from (each.relative_to(TEMPLATES) for name in overlays for each in (TEMPLATES / name).glob("*.yaml"))


def target_of(source: Path) -> Path:
    """Return the manifest of a template, relative to deploy/."""
    return Path("overlays", source) if source.parent.name else source


def _render(helm: Path, source: Path, values: Path) -> str:
    """Return a rendered template without helm's own lines."""
    command: list[str | Path] = [helm, "template", RELEASE, CHART, f"--namespace={RELEASE}", f"--values={values}"]
    done = subprocess.run([*command, f"--show-only=templates/{source}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"helm cannot render templates/{source}: {done.stderr.strip()}")
    documents = [_cleaned(each) for each in done.stdout.split("---\n")]
    return "---\n".join(f"{each}\n" for each in documents if each)


def _cleaned(document: str) -> str:
    """Return a document without the comment `# Source:` and without lines that a condition left empty."""
    lines = [each.rstrip() for each in document.splitlines()]
    return "\n".join(each for each in lines if each and not each.startswith("# Source: "))


def main(helm: str) -> None:
    """Write all manifests."""
    for path, content in rendered(Path(helm)).items():
        path.write_text(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
