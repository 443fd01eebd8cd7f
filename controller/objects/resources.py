"""List the kinds of objects that the controller reads or writes, with their API paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common import names


@dataclass(frozen=True, slots=True)
class Kind:
    """Resource of the API. `api` is `v1` for the core group, else `group/version`."""

    api: str
    plural: str
    name: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of the collection, or of one object."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        scope = f"/namespaces/{namespace}" if self.namespaced else ""
        return "/".join(part for part in (f"{root}{scope}/{self.plural}", name, subresource) if part)


MIRROR: Final = Kind(names.API_VERSION, names.PLURAL, names.KIND, namespaced=False)
SECRET: Final = Kind("v1", "secrets", "Secret")
SERVICE: Final = Kind("v1", "services", "Service")
CONFIG_MAP: Final = Kind("v1", "configmaps", "ConfigMap")
CLAIM: Final = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
STATEFUL_SET: Final = Kind("apps/v1", "statefulsets", "StatefulSet")
DAEMON_SET: Final = Kind("apps/v1", "daemonsets", "DaemonSet")
BUDGET: Final = Kind("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
POD: Final = Kind("v1", "pods", "Pod")
LEASE: Final = Kind("coordination.k8s.io/v1", "leases", "Lease")
EVENT: Final = Kind("events.k8s.io/v1", "events", "Event")
CORE_EVENT: Final = Kind("v1", "events", "Event")  # has field selectors by object
MUTATING: Final = Kind(
    "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False
)
VALIDATING: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)

# Objects of a mirror in the order of creation: configuration and Services before the cache pods, the nodes last.
CHILDREN: Final = (SECRET, SERVICE, BUDGET, STATEFUL_SET, DAEMON_SET)
