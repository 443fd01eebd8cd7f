"""Define names, labels and selectors of all objects of a mirror.

Every naming function is injective, and their results never collide: two mirrors never share an object.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP: Final = "k8s.osp.tech"
VERSION: Final = "v1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RegistryMirror"
PLURAL: Final = "registrymirrors"
SINGULAR: Final = "registrymirror"
SHORT_NAME: Final = "rm"
CATEGORY: Final = "registry-mirror"  # `kubectl get registry-mirror`

APP_LABEL: Final = "app"
APP: Final = "docker-registry"
MIRROR_LABEL: Final = "mirror"
COMPONENT_LABEL: Final = "component"
REGISTRY: Final = "registry"
HOSTESS: Final = "hostess-certificate"

# Values of the labels that Kubernetes recommends. No selector uses these labels.
_RECOMMENDED: Final = "app.kubernetes.io/"
PRODUCT: Final = "registry-mirror"
MANAGER: Final = "registrymirror-controller"
CACHE: Final = "cache"
AGENT: Final = "agent"

PREFIX: Final = "registry-mirror-"
HEADLESS_SUFFIX: Final = "-headless"
CLAIM_TEMPLATE: Final = "image-store"

# Pods of a StatefulSet have the label value "<name>-<hash>" (hash: 10 characters) of at most 63 characters.
STATEFUL_SET_NAME_MAX: Final = 52
NAME_MAX: Final = STATEFUL_SET_NAME_MAX - len(PREFIX)

# Reserved by ICANN for private use: no public name ends with it.
PRIVATE_DOMAIN: Final = "internal"
DNS_LABEL_MAX: Final = 63
DNS_NAME_MAX: Final = 253
# Resolvers read a name as an IPv4 address if its last label is decimal or hexadecimal, as in 0x7f.1 and 1.0x7f.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
# Name of most objects, a "DNS subdomain" in Kubernetes: at most 253 characters, labels of any length.
OBJECT_NAME: Final = rf"{_DNS_LABEL.pattern}(?:\.{_DNS_LABEL.pattern})*".replace("(?:", "(")
_OBJECT_NAME: Final = re.compile(OBJECT_NAME)


def is_dns_label(text: str) -> bool:
    """Return True if `text` is a lower-case RFC 1123 label: letters, digits and inner hyphens, at most 63."""
    return len(text) <= DNS_LABEL_MAX and _DNS_LABEL.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Return True if `text` is a lower-case DNS name of at most 253 characters and not an IPv4 address."""
    labels = text.split(".")
    return len(text) <= DNS_NAME_MAX and all(map(is_dns_label, labels)) and not _NUMBER.fullmatch(labels[-1])


def is_object_name(text: str) -> bool:
    """Return True if `text` can name a Secret, a ConfigMap or a StorageClass."""
    return len(text) <= DNS_NAME_MAX and _OBJECT_NAME.fullmatch(text) is not None


def is_mirror_name(text: str) -> bool:
    """Return True if `text` can name a RegistryMirror: a DNS label of at most 36 characters.

    `-headless` at the end is refused: the Service of `a-headless` would be the headless Service of `a`.
    """
    return len(text) <= NAME_MAX and is_dns_label(text) and not text.endswith(HEADLESS_SUFFIX)


def object_name(mirror: str) -> str:
    """Return the name of a mirror's StatefulSet, DaemonSet, Service, Secret and PodDisruptionBudget."""
    return f"{PREFIX}{mirror}"


def former_names(mirror: str) -> tuple[str, str]:
    """Return the names of DaemonSet and Secret that mirror-operator gave to a mirror, and that this product lacks."""
    return f"{object_name(mirror)}-utils", f"{object_name(mirror)}-secret"


def headless_name(mirror: str) -> str:
    """Return the name of the headless Service of the StatefulSet."""
    return f"{object_name(mirror)}{HEADLESS_SUFFIX}"


def claim_name(mirror: str, ordinal: int) -> str:
    """Return the name that the StatefulSet gives to the claim of pod `ordinal`."""
    return f"{CLAIM_TEMPLATE}-{object_name(mirror)}-{ordinal}"


def labels(mirror: str) -> dict[str, str]:
    """Return the labels of all objects of a mirror, including the RegistryMirror."""
    return {APP_LABEL: APP, MIRROR_LABEL: mirror}


def pod_labels(mirror: str, component: str) -> dict[str, str]:
    """Return the labels of one kind of pods of a mirror, which are also their selector."""
    return {**labels(mirror), COMPONENT_LABEL: component}


def recommended_labels(instance: str, component: str) -> dict[str, str]:
    """Return the labels that Kubernetes recommends, for dashboards and users. They change without a new selector."""
    values = {
        "name": PRODUCT,
        "instance": instance,
        "component": component,
        "part-of": PRODUCT,
        "managed-by": MANAGER,
    }
    return {f"{_RECOMMENDED}{key}": value for key, value in values.items()}


def version_label(version: str) -> dict[str, str]:
    """Return the label with the product's version. Pods have none, since another label would restart them."""
    return {f"{_RECOMMENDED}version": version.replace("+", "_")}


def selector(object_labels: Mapping[str, str]) -> str:
    """Return the label selector of these labels, in the form of a query parameter."""
    return ",".join(f"{key}={value}" for key, value in object_labels.items())


def mirror_of(object_labels: Mapping[str, str]) -> str | None:
    """Return the name of the mirror in these labels; None if the labels are not of this product."""
    return object_labels.get(MIRROR_LABEL) if object_labels.get(APP_LABEL) == APP else None


def service_hosts(mirror: str, namespace: str) -> tuple[str, ...]:
    """Return the DNS names of the mirror's Service inside the cluster, shortest first."""
    service = f"{object_name(mirror)}.{namespace}"
    return service, f"{service}.svc", f"{service}.svc.cluster.local"


def default_masquerade(host: str) -> str:
    """Return the default host name of a mirror on the nodes: `mirror-<host>`, or `mirror--<hash>.internal`.

    The hash replaces hosts that give no DNS name with a dot: an IP address, a long label, a single label. Runtimes take
    the first part of an image name for a host only if it has a dot. No host starts with a hyphen, so the two forms
    never collide.
    """
    plain = f"mirror-{host}"
    return plain if "." in plain and is_dns_name(plain) else f"mirror--{short_hash(host)}.{PRIVATE_DOMAIN}"


def short_hash(text: str) -> str:
    """Return 12 hexadecimal digits (48 bits). 10,000 names collide with a chance of 2 in 10 million."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
