"""Find the file of each component: built here, or in the folder KUBEBUILDER_ASSETS."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.localcluster import commands
from tests.localcluster.build import build
from tests.localcluster.errors import LocalClusterError

VARIABLE = "KUBEBUILDER_ASSETS"  # set by setup-envtest
ALWAYS_THERE = frozenset({commands.ETCD, commands.API_SERVER, commands.KUBECTL})


def locate(components: Iterable[str], environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the file of each component; build those that are missing.

    Raises LocalClusterError if KUBEBUILDER_ASSETS lacks a component.
    """
    components = list(components)
    assets = environment.get(VARIABLE)
    found = _in_assets(Path(assets), components) if assets else {}
    ours = [name for name in components if name not in found]
    if assets and ours:
        print(
            f"{VARIABLE} is set: {', '.join(found)} are those of {assets}; {', '.join(ours)} are built here, "
            "since setup-envtest has none: they need an API server of their own minor version.",
            file=sys.stderr,
            flush=True,
        )
    built = build(environment) if ours else None
    return found | {name: built for name in ours if built}


def _in_assets(folder: Path, components: Iterable[str]) -> dict[str, Path]:
    found = {name: folder / name for name in components if (folder / name).is_file()}
    missing = sorted(ALWAYS_THERE - found.keys())
    if missing:
        raise LocalClusterError(
            f"{VARIABLE} is {folder}, but there is no {', no '.join(missing)} in it: "
            "let it name the folder that `setup-envtest use -p path` prints, or unset it."
        )
    return {name: path.resolve() for name, path in found.items()}
