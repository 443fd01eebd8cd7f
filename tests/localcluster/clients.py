"""Keep the files of kubectl and helm out of the user's folders."""

from pathlib import Path


def files_in(folder: Path) -> dict[str, str]:
    """Return the variables with which kubectl and helm keep their files in `folder`."""
    helm = {f"HELM_{name}_HOME": str(folder / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return {"KUBECACHEDIR": str(folder / "kubectl-cache"), **helm}
