"""Test the release of a lease whose last renewal is still under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.logs import logger
from controller.kubeclient.client import KubeClient
from controller.kubeclient.config import load_configuration
from controller.leader_election import LEASE_NAME, Leadership
from controller.objects.lease import Election
from controller.objects.resources import LEASE

if TYPE_CHECKING:
    from common.types import Json
    from controller.objects.resources import Kind
    from tests.cluster.conftest import Running

# A namespace without another candidate.
NAMESPACE = "kube-public"


class LateRenewal(KubeClient):
    """Store a renewal just after the lease was read."""

    under_way = False

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        """Return the lease as it was before the renewal."""
        read = await super().get(kind, namespace, name)
        if self.under_way:
            self.under_way = False
            renewed = {**read["spec"], "renewTime": "2026-01-01T00:00:00.000000Z"}
            await self.replace(kind, namespace, name, {**read, "spec": renewed})
        return read


async def test_late_renewal_does_not_prevent_release(shared: Running) -> None:
    """Without the release the next leader would wait for the expiry, 15 s."""
    configuration = await load_configuration(str(shared.cluster.kubeconfig))
    async with LateRenewal(configuration) as client:
        leadership = Leadership(client, NAMESPACE, Election("me"), logger("ERROR", "test"))
        await leadership.acquire()
        client.under_way = True
        await leadership.release()
        lease = await client.get(LEASE, NAMESPACE, LEASE_NAME)
        await client.delete(LEASE, NAMESPACE, lease)
    assert lease["spec"]["renewTime"] != "2026-01-01T00:00:00.000000Z"
    assert (lease["spec"].get("holderIdentity") or "", client.under_way) == ("", False)
