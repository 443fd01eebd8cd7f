"""Configure a node on which the original mirror-hostess writes the hosts entry. It runs in the same pod.

The agent adds what the original lacks: the CA of the mirror, the state of the node, and its cleanup.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostess.fs import atomic
from hostess.node_config import Node
from hostess.steps import run_all


@dataclass
class NodeOfOriginal(Node):
    """Node of one mirror whose hosts entry is a foreign line."""

    def addresses(self) -> tuple[str, ...]:
        """Return no address: the agent has written none."""
        return ()

    def has_name(self) -> bool:
        """Return True if the original has written the hosts entry."""
        return self.hosts.has_name(self.settings.masquerade)

    def refuse_contradiction(self, addresses: tuple[str, ...]) -> None:
        """Accept any line: the original writes a line of its own, and corrects it."""

    def is_clean(self) -> bool:
        """Return True if nothing of the mirror is on the node, also of the original."""
        return super().is_clean() and not self.has_name()

    def _introduce(self, addresses: tuple[str, ...], ca: bytes) -> bool:
        """Write the CA; remove the block of the project's agent, which ran here before."""
        del addresses
        self.files.write_ca(self.settings.containerd_certs, ca)
        self.hosts.remove(self.settings.mirror)
        return False

    def _clean_locked(self) -> None:
        """Clean the node. The original hangs at times, and leaves its entry."""
        run_all([self._remove_name, super()._clean_locked])

    def _remove_name(self) -> None:
        with atomic.locked(self.settings.lock_file):
            self.hosts.remove_name(self.settings.masquerade)

    def _release_shared(self) -> None:
        """Keep shared files while other mirrors have files. They have no block."""
        if not self.other_mirrors():
            super()._release_shared()
