"""Define the files between an upstream and its front: faults to simulate, and records of requests."""

import json
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

HANG, TRUNCATE = "hang", "truncate"
TOKEN_PATH = "/token"


@dataclass(frozen=True)
class Faults:
    """`fault` is None, `hang`, `truncate` (blobs), or a status for all answers; `rate` is in bytes per second."""

    fault: str | int | None = None
    rate: float | None = None

    @classmethod
    def read(cls, path: Path) -> "Faults":
        """Return the faults in a file, none if there is no file."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return cls()

    def write(self, path: Path) -> None:
        """Write the file and rename it into place."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.rename(path)


@dataclass(frozen=True)
class Record:
    """One answer. `kind` is `ping`, `manifest`, `blob`, `token` or `other`; `size` is the number of body bytes sent.

    `account` is True if the request had an account or a token.
    """

    method: str
    path: str
    kind: str
    status: int
    size: int
    account: bool


def kind_of(path: str) -> str:
    """Return the kind of a request by its path."""
    path = path.partition("?")[0]
    if path.rstrip("/") == "/v2":
        return "ping"
    if path.startswith(TOKEN_PATH):
        return "token"
    return next((kind for kind in ("manifest", "blob") if f"/{kind}s/" in path), "other")


class Throttle:
    """A rate limit for all connections together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = 0.0

    def pause(self, size: int, rate: float | None) -> None:
        """Wait until `size` more bytes may be sent."""
        if not rate:
            return
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size / rate
            until = self._free
        time.sleep(max(0.0, until - time.monotonic()))
