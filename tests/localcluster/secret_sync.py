"""Write the files of a Secret into a folder, as the kubelet does for a pod.

`python -m tests.localcluster.secret_sync KUBECTL NAMESPACE SECRET FOLDER`. As in a mounted volume, the files are links
through `..data`, a link to the folder of one version. One rename replaces all files.
"""

import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

RETRY_INTERVAL = 0.2  # seconds until the next watch


def write_version(data: dict[str, str], folder: Path) -> None:
    """Replace the files in `folder` by `data`, whose values are base64."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "..data"
    before = link.resolve() if link.is_symlink() else None
    version = folder / f"..{time.time_ns()}"
    version.mkdir(mode=0o700)
    for name, value in data.items():
        (version / name).write_bytes(base64.b64decode(value))
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    swapped = folder / "..data_new"
    swapped.symlink_to(version.name)
    swapped.rename(link)
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


def follow(kubectl: str, namespace: str, secret: str, folder: Path) -> None:
    """Write each version of the Secret until the watch ends."""
    argv = [kubectl, "--namespace", namespace, "get", "secret", f"--field-selector=metadata.name={secret}"]
    argv += ["--watch", '--output=jsonpath={.data}{"\\n"}']
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        for line in watch.stdout:
            write_version(json.loads(line), folder)


def main(kubectl: str, namespace: str, secret: str, folder: str) -> None:
    """Watch the Secret until this process is ended."""
    while True:
        follow(kubectl, namespace, secret, Path(folder))
        time.sleep(RETRY_INTERVAL)


if __name__ == "__main__":
    main(*sys.argv[1:])
