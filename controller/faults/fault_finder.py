"""Ask the API server why pods of a mirror do not exist or do not run. At rest nothing is asked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common import names
from common.defaults import dict_at
from controller import clock
from controller.faults import pod_faults
from controller.kubeclient.errors import Forbidden, Gone
from controller.objects.resources import CLAIM, CORE_EVENT, DAEMON_SET, POD, STATEFUL_SET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.types import Json
    from controller.kubeclient.client import KubeClient


# The store of DaemonSets holds those of mirrors only.
_DIALER: Final = {"app.kubernetes.io/name": "registrymirror-dialer"}


@dataclass(frozen=True, slots=True)
class FaultFinder:
    """Find the first fault of a mirror's pods."""

    cluster: KubeClient
    namespace: str

    async def of_caches(self, mirror: str, stateful_set: Json) -> str:
        """Return a sentence about the cache pods, or an empty string."""
        owner = {"kind": STATEFUL_SET.name, **stateful_set}
        wanted = int(dict_at(stateful_set, "spec").get("replicas") or 0)
        return await self._fault(owner, _labels(mirror, names.REGISTRY), wanted)

    async def of_agents(self, mirror: str, daemon_set: Json) -> str:
        """Return a sentence about the agents, or an empty string."""
        return await self._fault_of_daemon_set(daemon_set, _labels(mirror, names.HOSTESS))

    async def of_dialers(self) -> str:
        """Return a sentence about the dialers, which serve the agents of all mirrors, or an empty string."""
        with suppress(Forbidden, Gone):
            async for found, _ in self.cluster.pages(DAEMON_SET, self.namespace, "", names.selector(_DIALER)):
                for daemon_set in found:
                    if fault := await self._fault_of_daemon_set(daemon_set, _DIALER):
                        return fault
        return ""

    async def _fault_of_daemon_set(self, daemon_set: Json, labels: Mapping[str, str]) -> str:
        wanted = int(dict_at(daemon_set, "status").get("desiredNumberScheduled") or 0)
        return await self._fault({"kind": DAEMON_SET.name, **daemon_set}, labels, wanted)

    async def _fault(self, owner: Json, labels: Mapping[str, str], wanted: int) -> str:
        with suppress(Forbidden, Gone):  # the status is useful without it
            count, unready = await self._pods(labels)
            fault = await self._event_about(owner) if count < wanted else ""
            if fault or unready is None:
                return _named(owner, fault)
            return await self._fault_of(unready)
        return ""

    async def _pods(self, labels: Mapping[str, str]) -> tuple[int, Json | None]:
        """Return the number of pods, and the first unready one."""
        count, unready = 0, None
        async for pods, _ in self.cluster.pages(POD, self.namespace, "", names.selector(labels)):
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


def _labels(mirror: str, component: str) -> dict[str, str]:
    return {names.MIRROR_LABEL: mirror, names.COMPONENT_LABEL: component}


def _named(obj: Json, fault: str, where: str = "") -> str:
    return f"{obj['kind']} {obj['metadata']['name']}{where}: {fault}" if fault else ""
