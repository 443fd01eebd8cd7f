"""Ask the API server why pods of a mirror do not exist or do not run. At rest nothing is asked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import names
from common.defaults import dict_at
from controller import clock
from controller.faults import pod_faults
from controller.kubeclient.errors import Forbidden, Gone
from controller.objects.resources import CLAIM, CORE_EVENT, DAEMON_SET, POD, STATEFUL_SET

if TYPE_CHECKING:
    from common.types import Json
    from controller.kubeclient.client import KubeClient


@dataclass(frozen=True, slots=True)
class FaultFinder:
    """Find the first fault of a mirror's pods."""

    cluster: KubeClient
    namespace: str

    async def of_caches(self, mirror: str, stateful_set: Json) -> str:
        """Return a sentence about the cache pods, or an empty string."""
        owner = {"kind": STATEFUL_SET.name, **stateful_set}
        return await self._fault(owner, mirror, names.REGISTRY, int(dict_at(stateful_set, "spec").get("replicas") or 0))

    async def of_agents(self, mirror: str, daemon_set: Json) -> str:
        """Return a sentence about the agents, or an empty string."""
        owner = {"kind": DAEMON_SET.name, **daemon_set}
        wanted = int(dict_at(daemon_set, "status").get("desiredNumberScheduled") or 0)
        return await self._fault(owner, mirror, names.HOSTESS, wanted)

    async def _fault(self, owner: Json, mirror: str, component: str, wanted: int) -> str:
        with suppress(Forbidden, Gone):  # the status is useful without it
            count, unready = await self._pods(mirror, component)
            fault = await self._event_about(owner) if count < wanted else ""
            if fault or unready is None:
                return _named(owner, fault)
            return await self._fault_of(unready)
        return ""

    async def _pods(self, mirror: str, component: str) -> tuple[int, Json | None]:
        """Return the number of pods, and the first unready one."""
        count, unready = 0, None
        labels = names.selector({names.MIRROR_LABEL: mirror, names.COMPONENT_LABEL: component})
        async for pods, _ in self.cluster.pages(POD, self.namespace, "", labels):
            count += len(pods)
            unready = unready or next((pod for pod in pods if not pod_faults.is_ready(pod, clock.now())), None)
        return count, unready

    async def _fault_of(self, pod: Json) -> str:
        if pod_faults.waits_for_claim(pod):
            name = f"{names.CLAIM_TEMPLATE}-{pod['metadata']['name']}"
            claim = {"kind": CLAIM.name, "metadata": {"name": name}}
            if fault := await self._event_about(claim):
                return _named(claim, fault)
        fault = pod_faults.fault_of_pod(pod) or await self._event_about(pod)
        node = dict_at(pod, "spec").get("nodeName")
        return _named(pod, fault, f" on {node}" if node else "")

    async def _event_about(self, obj: Json) -> str:
        """Return the newest Warning about an object; empty without the right to list Events."""
        metadata = obj["metadata"]
        selected = {"involvedObject.kind": obj["kind"], "involvedObject.name": metadata["name"], "type": "Warning"}
        if "uid" in metadata:
            selected["involvedObject.uid"] = metadata["uid"]
        found: list[Json] = []
        with suppress(Forbidden, Gone):
            async for events, _ in self.cluster.pages(CORE_EVENT, self.namespace, names.selector(selected)):
                found += events
        return pod_faults.newest_fault(found)


def _named(obj: Json, fault: str, where: str = "") -> str:
    return f"{obj['kind']} {obj['metadata']['name']}{where}: {fault}" if fault else ""
