"""Does for a program on this machine what the kubelet does for a pod: keeps the files of a Secret in a folder.

`python -m tests.localcluster.secret_sync KUBECTL NAMESPACE SECRET FOLDER`. As in a mounted volume, the files are links
through `..data`, a link to a folder of one version, which is swapped in one step: a reader never sees half of a change.
"""

import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

RETRY_INTERVAL = 0.2  # seconds before the Secret is watched again: the API server was restarted, or its watch ended


def write_version(data: dict[str, str], folder: Path) -> None:
    """Make `folder` show exactly these files; the values of `data` are base64."""
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
    """Deliver each version of the Secret until the watch ends."""
    argv = [kubectl, "--namespace", namespace, "get", "secret", f"--field-selector=metadata.name={secret}"]
    argv += ["--watch", '--output=jsonpath={.data}{"\\n"}']
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        for line in watch.stdout:
            write_version(json.loads(line), folder)


def main(kubectl: str, namespace: str, secret: str, folder: str) -> None:
    """Follow the Secret for ever."""
    while True:
        follow(kubectl, namespace, secret, Path(folder))
        time.sleep(RETRY_INTERVAL)


if __name__ == "__main__":
    main(*sys.argv[1:])
