"""A lease that is given up while its last renewal is still on the way to the API server."""

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

# One in which nobody else stands for election.
NAMESPACE = "kube-public"


class Late(KubeClient):
    """A door behind which a renewal, sent before, is stored just after the lease was read."""

    under_way = False

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        """The lease as it was before."""
        read = await super().get(kind, namespace, name)
        if self.under_way:
            self.under_way = False
            later = {**read["spec"], "renewTime": "2026-01-01T00:00:00.000000Z"}
            await self.replace(kind, namespace, name, {**read, "spec": later})
        return read


async def test_it_is_given_up_all_the_same(shared: Running) -> None:
    """Otherwise the other would wait for its end, 15 s."""
    configuration = await load_configuration(str(shared.cluster.kubeconfig))
    async with Late(configuration) as door:
        leadership = Leadership(door, NAMESPACE, Election("me"), logger("ERROR", "test"))
        await leadership.acquire()
        door.under_way = True
        await leadership.release()
        left = await door.get(LEASE, NAMESPACE, LEASE_NAME)
        await door.delete(LEASE, NAMESPACE, left)
    assert left["spec"]["renewTime"] != "2026-01-01T00:00:00.000000Z"
    assert (left["spec"].get("holderIdentity") or "", door.under_way) == ("", False)
