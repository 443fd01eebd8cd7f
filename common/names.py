"""Names, labels and selectors of everything that is made for a mirror, and nothing else.

The one place that knows them: two modules that each build a name agree until one of them changes.
Every function is injective in the mirror's name, and no two of them meet, so that two mirrors never share an object.
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

APP_LABEL: Final = "app"
APP: Final = "docker-registry"
MIRROR_LABEL: Final = "mirror"
COMPONENT_LABEL: Final = "component"
# On cache pods, a digest of the upstream: with it the Service leads to none that still serves a former one.
UPSTREAM_LABEL: Final = f"{GROUP}/upstream"
REGISTRY: Final = "registry"
HOSTESS: Final = "hostess-certificate"

PREFIX: Final = "registry-mirror-"
HEADLESS_SUFFIX: Final = "-headless"
CLAIM_TEMPLATE: Final = "image-store"

# A StatefulSet's pods carry "<name>-<hash>" (11 characters) in a label of at most 63: its own name may have 52.
STATEFUL_SET_NAME_MAX: Final = 52
NAME_MAX: Final = STATEFUL_SET_NAME_MAX - len(PREFIX)

DNS_LABEL_MAX: Final = 63
DNS_NAME_MAX: Final = 253
# A last label that makes resolvers read the whole as an IPv4 address: decimal, or hexadecimal as in 0x7f.1 and 1.0x7f.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
# The name of most objects, a "DNS subdomain" in Kubernetes' words: as a whole at most 253, its labels of any length.
OBJECT_NAME: Final = rf"{_DNS_LABEL.pattern}(?:\.{_DNS_LABEL.pattern})*".replace("(?:", "(")
_OBJECT_NAME: Final = re.compile(OBJECT_NAME)


def is_dns_label(text: str) -> bool:
    """Whether `text` is a lower-case RFC 1123 label: letters, digits and inner hyphens, at most 63."""
    return len(text) <= DNS_LABEL_MAX and _DNS_LABEL.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether `text` is a lower-case DNS name of at most 253 characters that cannot be mistaken for an IPv4 address."""
    labels = text.split(".")
    return len(text) <= DNS_NAME_MAX and all(map(is_dns_label, labels)) and not _NUMBER.fullmatch(labels[-1])


def is_object_name(text: str) -> bool:
    """Whether `text` can name a Secret, a ConfigMap or a StorageClass."""
    return len(text) <= DNS_NAME_MAX and _OBJECT_NAME.fullmatch(text) is not None


def is_mirror_name(text: str) -> bool:
    """Whether `text` can name a RegistryMirror: a DNS label short enough for its StatefulSet.

    Without `-headless` at its end: the Service of `a-headless` would be the headless Service of `a`.
    """
    return len(text) <= NAME_MAX and is_dns_label(text) and not text.endswith(HEADLESS_SUFFIX)


def object_name(mirror: str) -> str:
    """Name of the StatefulSet, DaemonSet, Service, Secret and disruption budget of a mirror."""
    return f"{PREFIX}{mirror}"


def headless_name(mirror: str) -> str:
    """Name of the headless Service that gives the cache pods their addresses."""
    return f"{object_name(mirror)}{HEADLESS_SUFFIX}"


def claim_name(mirror: str, ordinal: int) -> str:
    """Name that the StatefulSet gives the claim of its pod number `ordinal`."""
    return f"{CLAIM_TEMPLATE}-{object_name(mirror)}-{ordinal}"


def labels(mirror: str) -> dict[str, str]:
    """Labels of everything that belongs to a mirror, the RegistryMirror itself included."""
    return {APP_LABEL: APP, MIRROR_LABEL: mirror}


def pod_labels(mirror: str, component: str) -> dict[str, str]:
    """Labels of a mirror's pods, and the selector that finds them.

    With the component, or the pods of one kind would be counted for the other.
    """
    return {**labels(mirror), COMPONENT_LABEL: component}


def selector(object_labels: Mapping[str, str]) -> str:
    """The label selector, as a query has it, of objects with all of these labels."""
    return ",".join(f"{key}={value}" for key, value in object_labels.items())


def mirror_of(object_labels: Mapping[str, str]) -> str | None:
    """Name of the mirror that an object with these labels belongs to; None where they are not ours."""
    return object_labels.get(MIRROR_LABEL) if object_labels.get(APP_LABEL) == APP else None


def service_hosts(mirror: str, namespace: str) -> tuple[str, ...]:
    """DNS names under which the cluster reaches the mirror's Service, shortest first."""
    service = f"{object_name(mirror)}.{namespace}"
    return service, f"{service}.svc", f"{service}.svc.cluster.local"


def default_masquerade(host: str) -> str:
    """Host name under which nodes reach a mirror whose spec names none.

    `mirror-<host>`, or a hash where that is no DNS name (a label too long, an IP address). The hashed form
    starts with two hyphens, as no host does, so that the two forms never meet.
    """
    plain = f"mirror-{host}"
    return plain if is_dns_name(plain) else f"mirror--{short_hash(host)}"


def short_hash(text: str) -> str:
    """Twelve hexadecimal digits of `text`: 48 bits, so that 10,000 names collide with a chance of 2 in 10 million."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
