"""Send reviews continuously and count refusals."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Self

from controller.objects import resources
from tests.support.kube import NAMESPACE, Kube
from tests.support.mirrors import a_mirror
from tests.support.webhooks import Client

if TYPE_CHECKING:
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

HOST = f"registrymirror-webhook.{NAMESPACE}.svc"
# Seconds between two turns.
PAUSE = 0.1


def bundle(kube: Kube, kind: Kind) -> str:
    """Return the caBundle of a configuration."""
    encoded = kube.get(kind, "registrymirror")["webhooks"][0]["clientConfig"].get("caBundle", "")
    return base64.b64decode(encoded).decode()


class Admitting:
    """Creates mirrors (dry runs) and connections in a thread; `refusals` lists the errors.

    The API server keeps connections to the webhook, so each turn also opens a new one that trusts the current caBundle.
    """

    def __init__(self, running: Running) -> None:
        self._port = running.system.webhook_port
        self._kube = Kube(running.cluster)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self.turns = 0
        self.refusals: list[str] = []
        self.serials: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._kube.close()

    def _go_on(self) -> None:
        while not self._end.wait(PAUSE):
            self.turns += 1
            try:
                self._kube.create(resources.MIRROR, a_mirror().named(f"turn{self.turns}").raw(), dryRun="All")
                for kind in (resources.MUTATING, resources.VALIDATING):
                    with Client(self._port, bundle(self._kube, kind).encode(), HOST) as client:
                        self.serials.add(client.serial)
            except (AssertionError, OSError) as error:
                self.refusals.append(f"{type(error).__name__}: {error}")
