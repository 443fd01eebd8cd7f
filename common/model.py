"""Define the spec of a RegistryMirror: the source of validation, defaults and the CRD's schema.

`kubectl explain` shows the descriptions.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from common.field_types import (
    AccessModes,
    AnnotationKey,
    ClassName,
    LabelKey,
    LabelValue,
    MasqueradeUrl,
    NoClaimName,
    NoVolumeName,
    Replicas,
    Resource,
    SecretName,
    Storage,
    Ttl,
    UpstreamUrl,
    VolumeMode,
)
from common.part import Part
from common.placement import AgentPods, CachePods
from common.selectors import LabelSelector

DEFAULT_ACCESS_MODES: Final = ("ReadWriteOnce",)
DEFAULT_STORAGE: Final = "20Gi"  # room for about 50 images
DEFAULT_REPLICAS: Final = 2  # one serves while the other is drained or updated
DEFAULT_TTL: Final = "168h"  # a week
ADDITIONAL_UPSTREAMS_MAX: Final = 20  # bounds the memory of a cache, and the files on a node


class ClaimMetadata(Part):
    """Labels and annotations of the claims."""

    name: NoClaimName = Field(None, description="Not supported, because the StatefulSet names the claims.")
    labels: dict[LabelKey, LabelValue] | None = Field(
        None, description="Labels of each claim. Cannot change after creation. Example: {team: platform}."
    )
    annotations: dict[AnnotationKey, str] | None = Field(
        None, description="Annotations of each claim. Cannot change after creation."
    )


class Resources(Part):
    """Requests and limits of a claim."""

    requests: dict[Resource, Storage] | None = Field(
        None,
        description=(
            "`storage` is the size of each cache pod's volume, a quantity. It can grow if the StorageClass allows"
            " expansion. It can shrink only to the granted size (status.storage). Default: {storage: 20Gi}."
        ),
    )
    limits: dict[Resource, Storage] | None = Field(
        None,
        description="`storage` is the maximum size of a volume. Cannot change after creation. Example: 100Gi.",
    )


class DataSource(Part):
    """Source object for the content of new volumes."""

    api_group: str | None = Field(None, description="API group of the object. Empty for the core group.")
    kind: str = Field(description="Kind of the object, such as VolumeSnapshot.")
    name: str = Field(description="Name of the object.")


class DataSourceRef(DataSource):
    """Source object in any namespace for the content of new volumes."""

    namespace: str | None = Field(None, description="Namespace of the object. Default: the namespace of the claim.")


class ClaimSpec(Part):
    """Fields of a PersistentVolumeClaim's spec that a cache can use."""

    access_modes: AccessModes | None = Field(
        None,
        description="Access modes of the volume. Cannot change after creation. Default: [ReadWriteOnce].",
    )
    resources: Resources | None = Field(
        None, description="Size of each cache pod's volume. Default: {requests: {storage: 20Gi}}."
    )
    storage_class_name: ClassName | None = Field(
        None,
        description=(
            "StorageClass of the claims. An empty name disables provisioning: only existing volumes are bound. Cannot"
            " change after creation. Default: the default class of the cluster."
        ),
    )
    selector: LabelSelector | None = Field(
        None, description="Selects existing volumes by their labels. Cannot change after creation."
    )
    volume_attributes_class_name: ClassName | None = Field(
        None, description="VolumeAttributesClass of the claims. Cannot change after creation."
    )
    volume_mode: VolumeMode | None = Field(
        None, description="Only Filesystem is allowed, because a cache writes files. Default: Filesystem."
    )
    volume_name: NoVolumeName = Field(
        None,
        description="Not supported, because each cache pod needs its own volume. Use selector for existing volumes.",
    )
    data_source: DataSource | None = Field(
        None, description="Source for the content of new volumes. Cannot change after creation."
    )
    data_source_ref: DataSourceRef | None = Field(
        None, description="Source of any kind for the content of new volumes. Cannot change after creation."
    )


class VolumeClaimTemplate(Part):
    """Template for the PersistentVolumeClaim of each cache pod."""

    # Users paste whole claims, and kubectl refuses fields that the schema does not define.
    api_version: Literal["v1"] | None = Field(None, description="Optional. Always v1.")
    kind: Literal["PersistentVolumeClaim"] | None = Field(None, description="Optional. Always PersistentVolumeClaim.")
    metadata: ClaimMetadata | None = Field(None, description="Labels and annotations of the claims.")
    spec: ClaimSpec | None = Field(None, description="Spec of the claims: size, access modes and StorageClass.")


class UpstreamSpec(Part):
    """One registry that the mirror serves."""

    upstream_url: UpstreamUrl = Field(
        description="Registry to mirror, by the rules of spec.upstreamUrl. No two upstreams have the same image names."
    )
    credentials_secret: SecretName | None = Field(
        None,
        description=(
            "Secret in the controller's namespace with the keys username and password for this upstream alone."
            " Default: none."
        ),
    )


class RegistryMirrorSpec(Part):
    """The registry to mirror, and the settings of its cache."""

    upstream_url: UpstreamUrl = Field(
        description=(
            "Registry to mirror, as host[:port]. https:// is assumed; http:// is accepted. User information, query and"
            " fragment are refused. A path is refused too: keep it in the image names. docker.io, hub.docker.io,"
            " hub.docker.com, index.docker.io and registry.hub.docker.com mean Docker Hub, https://registry-1.docker.io."
            " Example: quay.io."
        ),
    )
    masquerade_url: MasqueradeUrl | None = Field(
        None,
        description=(
            "Host name of the mirror on the nodes: a DNS name without scheme, port or path. status.masqueradeUrl shows"
            " the name in use. Default: mirror-<upstream host>, or mirror--<hash>.internal for a host without a dot"
            " or an IP address. Example: local.docker.io."
        ),
    )
    credentials_secret: SecretName | None = Field(
        None,
        description=(
            "Secret in the controller's namespace with the keys username and password for the upstream, or of type"
            " kubernetes.io/dockerconfigjson with an entry for its host. The cache pulls"
            " without credentials until the Secret is complete. Every pod of the cluster can pull all private images"
            " that these credentials can read. Default: none. Example: internal-mirror."
        ),
    )
    additional_upstreams: list[UpstreamSpec] | None = Field(
        None,
        max_length=ADDITIONAL_UPSTREAMS_MAX,
        description=(
            "Further registries that the same cache pods and agents serve, each with its own credentials. At most 20."
            " Example: [{upstreamUrl: quay.io}]."
        ),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["upstreamUrl"]},
    )
    volume_claim_template: VolumeClaimTemplate | None = Field(
        None,
        description="PersistentVolumeClaim of each cache pod. Default: 20Gi of storage, access mode ReadWriteOnce.",
    )
    replicas: Replicas = Field(
        DEFAULT_REPLICAS,
        description="Number of cache pods, 1 to 10. Each has its own volume, and they share content. Default: 2.",
    )
    ttl: Ttl = Field(
        DEFAULT_TTL,
        description=(
            "The cache removes a blob after this time without a pull. A Go duration. 0s removes blobs only if space is"
            " low. Default: 168h. Example: 24h."
        ),
    )
    cache: CachePods | None = Field(
        None,
        description="Nodes, resources and metadata of the cache pods. Default: any node, as the scheduler decides.",
    )
    agent: AgentPods | None = Field(
        None, description="Resources and metadata of the node agents. HOSTESS_NODE_SELECTOR chooses their nodes."
    )

    @property
    def upstreams(self) -> list[UpstreamSpec]:
        """Return all upstreams, that of spec.upstreamUrl first."""
        first = UpstreamSpec(upstream_url=self.upstream_url, credentials_secret=self.credentials_secret)
        return [first, *(self.additional_upstreams or [])]
