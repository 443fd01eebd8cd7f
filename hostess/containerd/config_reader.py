"""Read containerd's configuration on the node, and its version from the Node object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hostess.containerd import config_files, config_path
from hostess.containerd.runtime import CONTAINERD, CRI_O, Runtime, parse_version
from hostess.fs import owned_directories
from hostess.health.node_network import NodeNetwork

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from hostess.containerd.config_path import Reading
    from hostess.json_log import Log
    from hostess.kube.api_client import ApiClient
    from hostess.settings import Settings

# Seconds until the version is read again. Runtimes are upgraded a few times a year.
REPEAT_INTERVAL: Final = 3600.0
AFTER_FAILURE: Final = 10.0  # the node counts as not verified meanwhile
DURING_RESTART: Final = 10.0  # the kubelet's own interval


@dataclass(slots=True)
class Containerd:
    """Reader of the node's runtime. `version_read` is True after the first request, successful or not.

    Until a request succeeds, `runtime` has no name and no version.
    """

    settings: Settings
    api: ApiClient
    log: Log
    version_read: bool = False
    runtime: Runtime = field(default_factory=Runtime)
    network: NodeNetwork = field(default_factory=NodeNetwork)
    _loaded: Reading | None = None
    _outdated_at: float = 0.0  # the change that containerd has not read

    @property
    def reads_docker(self) -> bool:
        """Return True if the runtime may read docker's folder. containerd reads its own, which comes first."""
        return self.runtime.name != CONTAINERD

    @property
    def reads_drop_in(self) -> bool:
        """Return True if the runtime finds mirrors in registries.conf.d only."""
        return self.runtime.name == CRI_O

    def reading(self, *, needs_folder: bool = True) -> Reading:
        """Return the runtime's use of our folder. Raises NodeConfigError if there is none.

        Without `needs_folder` the mirror has no hosts.toml.
        """
        if not needs_folder and self.runtime.name not in ("", CONTAINERD):
            return config_path.Reading()  # docker and CRI-O need the CA and the hosts entry only
        folder = self.settings.containerd_certs
        relative = not self.runtime.is_before(config_path.RELATIVE_SINCE)
        found = config_files.read(folder.parent, relative_patterns=relative)
        loaded, self._loaded = self._loaded, None
        doubts = found.doubts
        if not (found.texts or doubts) and str(folder) != config_path.DEFAULT_FOLDER and _is_alone(folder):
            doubts = (NOTHING_ELSE.format(folder=folder, parent=folder.parent, marker=owned_directories.MARKER),)
        reading = _reading(found.texts, doubts, self.runtime, str(folder))
        # A change of another part needs no restart.
        if not reading.doubt and reading != loaded and self._is_outdated(found.changed):
            return replace(reading, doubt=NOT_RESTARTED, searches_docker=True)
        self._loaded = reading
        return reading

    def _is_outdated(self, changed: float) -> bool:
        """Return True if containerd has not started since its configuration changed."""
        start = self.network.last_start() if self.runtime.name == CONTAINERD else None
        if start is None:
            return False
        # A dialer that restarts forgets what it saw.
        if start.is_before(changed) or (changed == self._outdated_at and start.seen < changed):
            self._outdated_at = changed
            return True
        return False

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
                found = parse_version(node["status"]["nodeInfo"]["containerRuntimeVersion"])
                # The kubelet reports `containerd://Unknown` while the runtime restarts.
                if found.version is None:
                    interval = DURING_RESTART
                if found.version is not None or self.runtime.name != found.name:
                    self.runtime = found
            except Exception as error:  # noqa: BLE001 (the boundary: a strange answer must not end the thread)
                why = f"{type(error).__name__}: {error}"
                self.log.warning("runtime version unknown", node=self.settings.node_name, why=why)
                interval = AFTER_FAILURE
        self.version_read = True
        return interval


def _is_alone(folder: Path) -> bool:
    """Return True if only agents wrote in the folder's parent, which the kubelet creates for the mount."""
    try:
        names = {each.name for each in folder.parent.iterdir() if not each.name.startswith(owned_directories.MARKER)}
    except OSError:
        return False
    return not names or (names == {folder.name} and owned_directories.is_owned(folder))


NOTHING_ELSE: Final = (
    "{parent} has the agent's files only. Compare CONTAINERD_CERTS_DIR with `containerd config dump`. If they agree,"
    " remove {folder}/{marker}."
)
NOT_RESTARTED: Final = "containerd has not started since its configuration changed. Restart containerd."
# An unchanged file is not parsed again every two seconds.
_reading = lru_cache(maxsize=2)(config_path.reading)
