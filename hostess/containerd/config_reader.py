"""Reads the runtime's configuration on the node, and its version from the Node object."""

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
    from hostess.kube.api_client import Api
    from hostess.settings import Settings

# Seconds. A runtime is upgraded a few times a year; one that could not be asked for is asked for sooner.
REPEAT_INTERVAL: Final = 3600.0
AFTER_FAILURE: Final = 60.0
WHILE_RESTARTED: Final = 10.0  # as often as the kubelet looks


@dataclass(slots=True)
class Containerd:
    """What the node's runtime reads."""

    settings: Settings
    api: Api
    log: Log
    asked: bool = False  # whether the API server has been asked for it, with success or without
    _runtime: Runtime = field(default_factory=config_path.Runtime)

    def reading(self) -> Reading:
        """How it reads our folder, as far as can be known. Raises Hindrance where it does not."""
        folder = self.settings.containerd_certs
        return _reading(tuple(_configurations(folder.parent)), self._runtime, str(folder))

    def follow(self, stopping: threading.Event) -> None:
        """Asks for the version now and then: in a thread of its own, as an API server that hangs holds up nothing."""
        while not stopping.is_set():
            stopping.wait(self.ask())

    def ask(self) -> float:
        """Asks for the version once; returns the seconds until it is worth asking again."""
        pause = REPEAT_INTERVAL
        if self.settings.node_name:
            try:
                node = self.api.get(f"/api/v1/nodes/{self.settings.node_name}")
                found = config_path.parse_version(node["status"]["nodeInfo"]["containerRuntimeVersion"])
                # The kubelet says `containerd://Unknown` while the runtime is restarted.
                if found.version is None:
                    pause = WHILE_RESTARTED
                if found.version is not None or self._runtime.name != found.name:
                    self._runtime = found
            except Exception as error:  # noqa: BLE001 (the boundary: whatever an answer held, the thread goes on)
                why = f"{type(error).__name__}: {error}"
                self.log.warning("runtime not known", node=self.settings.node_name, why=why)
                pause = AFTER_FAILURE
        self.asked = True
        return pause


# A file that is as it was is not parsed every two seconds again.
_reading = lru_cache(maxsize=2)(config_path.reading)


def _configurations(folder: Path) -> Iterator[bytes]:
    """config.toml, then what it imports from the same folder: more of the node the agent does not see."""
    main = atomic.content_of(folder / "config.toml")
    if main is not None:
        yield main
    for pattern in config_path.imports(main or b"") or ["conf.d/*.toml"]:
        relative = pattern.removeprefix(f"{folder}/")
        if not relative.startswith("/") and ".." not in relative.split("/"):
            yield from (atomic.content_of(path) or b"" for path in _matching(folder, relative))


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Files of that pattern; none where it is no pattern."""
    with contextlib.suppress(ValueError, IndexError, NotImplementedError):
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    return []
