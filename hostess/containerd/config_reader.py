"""Read containerd's configuration on the node, and its version from the Node object."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hostess.containerd import config_path
from hostess.fs import atomic

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from hostess.containerd.config_path import Reading, Runtime
    from hostess.json_log import Log
    from hostess.kube.api_client import ApiClient
    from hostess.settings import Settings

# Seconds until the version is read again. Runtimes are upgraded a few times a year.
REPEAT_INTERVAL: Final = 3600.0
AFTER_FAILURE: Final = 60.0
DURING_RESTART: Final = 10.0  # the kubelet's own interval


@dataclass(slots=True)
class Containerd:
    """Reader of the node's runtime. `version_read` is True after the first request, successful or not."""

    settings: Settings
    api: ApiClient
    log: Log
    version_read: bool = False
    _runtime: Runtime = field(default_factory=config_path.Runtime)

    def reading(self) -> Reading:
        """Return the runtime's use of our folder. Raises NodeConfigError if there is none."""
        folder = self.settings.containerd_certs
        return _reading(tuple(_configurations(folder.parent)), self._runtime, str(folder))

    def run(self, stopping: threading.Event) -> None:
        """Read the version from time to time. In its own thread, since the API server may hang."""
        while not stopping.is_set():
            stopping.wait(self.read_version())

    def read_version(self) -> float:
        """Read the version once; return the seconds until the next read."""
        interval = REPEAT_INTERVAL
        if self.settings.node_name:
            try:
                node = self.api.get(f"/api/v1/nodes/{self.settings.node_name}")
                found = config_path.parse_version(node["status"]["nodeInfo"]["containerRuntimeVersion"])
                # The kubelet reports `containerd://Unknown` while the runtime restarts.
                if found.version is None:
                    interval = DURING_RESTART
                if found.version is not None or self._runtime.name != found.name:
                    self._runtime = found
            except Exception as error:  # noqa: BLE001 (the boundary: a strange answer must not end the thread)
                why = f"{type(error).__name__}: {error}"
                self.log.warning("runtime version unknown", node=self.settings.node_name, why=why)
                interval = AFTER_FAILURE
        self.version_read = True
        return interval


# An unchanged file is not parsed again every two seconds.
_reading = lru_cache(maxsize=2)(config_path.reading)


def _configurations(folder: Path) -> Iterator[bytes]:
    """Yield config.toml, then its imports from the same folder, the only ones that the agent can read."""
    main = atomic.read_or_none(folder / "config.toml")
    if main is not None:
        yield main
    for pattern in config_path.imports(main or b"") or ["conf.d/*.toml"]:
        relative = pattern.removeprefix(f"{folder}/")
        if not relative.startswith("/") and ".." not in relative.split("/"):
            yield from (atomic.read_or_none(path) or b"" for path in _matching(folder, relative))


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern; none if the pattern is invalid."""
    with contextlib.suppress(ValueError, IndexError, NotImplementedError):
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    return []
