"""Stand in for the original mirror-hostess 1.4.0: the same variables, the same API request, the same file.

It writes a plain line, keeps the lock file while it writes, and removes its line at SIGTERM or when the Service is
deleted. It runs in a container with the standard library only.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import ssl
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOSTS, LOCK = Path(os.environ["HOSTS_FILE"]), Path(os.environ["LOCK_FILE"])
NAME, SERVICE = os.environ["SHADOW_FQDN"], os.environ["SERVICE_NAME"]
PAUSE: Final = 1.0  # seconds between two watches


def rewrite(line: str) -> None:
    """Replace all lines of the name by `line`, in place."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [each for each in HOSTS.read_text(errors="surrogateescape").splitlines() if NAME not in each.split()]
        HOSTS.write_text("\n".join([*kept, line]) + "\n", errors="surrogateescape")


def remove_and_end(_number: int, _frame: FrameType | None) -> None:
    """Remove the entry and end, as the original does at SIGTERM."""
    rewrite("")
    sys.exit(1)


def services() -> Iterator[dict[str, Any]]:
    """Yield the watch events of all Services of the namespace."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    path = f"/api/v1/namespaces/{os.environ['SERVICE_NAMESPACE']}/services?watch=true"
    request = urllib.request.Request(f"https://{host}:{port}{path}")
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, context=trust) as stream:  # noqa: S310 (always https)
        yield from map(json.loads, stream)


def main() -> None:
    """Follow the Service until SIGTERM."""
    shutil.copyfile(HOSTS, os.environ["HOSTS_FILE_BACKUP"])
    signal.signal(signal.SIGTERM, remove_and_end)
    while True:
        with contextlib.suppress(OSError):
            for event in services():
                if event["object"]["metadata"]["name"] == SERVICE:
                    address = event["object"]["spec"]["clusterIP"]
                    rewrite("" if event["type"] == "DELETED" else f"{address}\t{NAME}")
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
